// The models that come with the program snf: apps/pretrained/EXPERIMENT.safetensors, each trained
// for long. They are weights alone: a training does not go on from them.
#pragma once

#include <filesystem>
#include <string>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The file of this experiment's model: in the sources for a program in a directory of the build,
// and in share/backflow/pretrained of the prefix for an installed one, wherever that was moved to.
// `installed` is where they were installed, for a program that has left its prefix. Fails, naming
// the models that there are, when there is none of this experiment.
std::filesystem::path find_pretrained(const std::string& experiment,
                                      const std::filesystem::path& installed);

}  // namespace backflow::inline BACKFLOW_PRECISION

// The experiments by name.
#pragma once

#include <optional>

#include "apps/config.h"
#include "apps/io/images.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Experiment {
  std::string model;                // in a few words
  std::string paper;                // the paper's converged test NLL, as printed there
  std::optional<double> paper_nll;  // the same in nats per image, where it is a single number
  Config config;                    // its defaults; config.experiment is its name
};

const std::vector<Experiment>& experiments();
// Fails for an unknown name and suggests the nearest.
const Experiment& find_experiment(const std::string& name);

// Whether the paper's figures may stand beside results on these images: they are its data set.
bool is_comparable(const Experiment& experiment, const ImageSplits& images);

}  // namespace backflow::inline BACKFLOW_PRECISION

// What the program zoo says of a density.
#pragma once

#include <string>

#include "backflow/apps/zoo/data.h"
#include "backflow/engine/module.h"

namespace backflow::inline BACKFLOW_PRECISION {

Index parameter_count(const Module& module);

// A few lines: the NLL of held-out examples, what no density gets below, and what is between.
std::string in_words(const ZooScore& score, const ZooData& data);
std::string as_json(const ZooScore& score, const ZooData& data, const ZooConfig& config);

// The program's exit code: 0; or, for a score that no density has, 4 and a line on stderr, in red
// on a terminal.
int verdict(const ZooScore& score);

}  // namespace backflow::inline BACKFLOW_PRECISION

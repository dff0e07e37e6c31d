// The activations that a configuration can name. A new one is a row in activations.cpp, beside the
// files of its flow.
#pragma once

#include <limits>

#include "backflow/apps/model/site.h"
#include "backflow/apps/model/table.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct ActivationRow {
  std::string name, help;
  std::string words;  // as a description of the model says it: "smooth leaky ReLU"
  double most_alpha;  // that it takes
  std::unique_ptr<Flow> (*make)(const Site& site);
};

const Table<ActivationRow>& activations();

}  // namespace backflow::inline BACKFLOW_PRECISION

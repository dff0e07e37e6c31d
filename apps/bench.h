// How long a training step takes, beside the least time it could take here.
#pragma once

#include <vector>

#include "apps/model.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct BenchReport {
  std::vector<double> step_ms;  // sorted; noise, forward, backward and optimizer together
  double product_ms = 0;        // the model's necessary products at our own product's rate
  double optimizer_ms = 0;      // one pass of the optimizer: 28 bytes per float parameter
  Index peak_bytes = 0;         // of tensors alive at once in a step, parameters included

  double median_ms() const { return step_ms[step_ms.size() / 2]; }
  double floor_ms() const { return product_ms + optimizer_ms; }
};

// Trains on random images for `steps` steps, after some that are not counted. The floor is timed
// between the steps, so that both meet the same machine.
BenchReport bench(const Config& config, const ImageShape& image, Index steps);

}  // namespace backflow::inline BACKFLOW_PRECISION

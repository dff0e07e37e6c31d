// How long the gradient is: what clipping compares with the length that it allows.
#pragma once

#include "backflow/engine/backward.h"
#include "backflow/engine/module.h"

namespace backflow::inline BACKFLOW_PRECISION {

// sqrt(sum of squares) over all the parameters' gradients, added in double.
double global_norm(const Gradients& gradients, const std::vector<NamedParameter>& parameters);

}  // namespace backflow::inline BACKFLOW_PRECISION

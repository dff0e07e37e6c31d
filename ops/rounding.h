// Rounding whose gradient passes as if nothing had been rounded.
#pragma once

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The multiple of `step` nearest to x; of two that are equally near, the even one. Its derivative
// is 0 nearly everywhere, so nothing in front of it could learn; in its place the gradient is that
// of y = x (the straight-through estimator, Bengio, Leonard & Courville, 2013), which is biased.
// Fails unless the step is positive and finite.
Tensor round_to(const Tensor& x, double step = 1);
Var round_through(const Var& x, double step = 1);

}  // namespace backflow::inline BACKFLOW_PRECISION

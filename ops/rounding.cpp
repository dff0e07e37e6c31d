#include "backflow/ops/rounding.h"

#include <cmath>

#include "backflow/ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {

Tensor round_to(const Tensor& x, double step) {
  if (!(step > 0 && std::isfinite(step)))
    fail("round", "the step must be positive and finite, got ", step);
  return pointwise(x, [s = static_cast<Real>(step)](Real x) { return std::nearbyint(x / s) * s; });
}

Var round_through(const Var& x, double step) {
  return override_gradient("round", round_to(x.value(), step), {x},
                           [](const Tensor& g) { return g; });
}

}  // namespace backflow::inline BACKFLOW_PRECISION

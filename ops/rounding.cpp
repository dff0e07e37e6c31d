#include "backflow/ops/rounding.h"

#include <cmath>
#include <limits>

#include "backflow/ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {

Tensor round_to(const Tensor& x, double step) {
  const Real s = static_cast<Real>(step);
  if (!(s > 0 && std::isfinite(s))) fail("round", "the step must be positive and finite, got ", s);
  // So many steps are whole to rounding, and x / s may overflow.
  constexpr Real all_whole = 1 / std::numeric_limits<Real>::epsilon();
  return pointwise(x, [=](Real x) {
    const Real steps = x / s;
    return std::abs(steps) < all_whole ? std::nearbyint(steps) * s : x;
  });
}

Var round_through(const Var& x, double step) {
  return override_gradient("round", round_to(x.value(), step), {x},
                           [](const Tensor& g) { return g; });
}

}  // namespace backflow::inline BACKFLOW_PRECISION

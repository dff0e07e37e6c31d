#include "backflow/ops/functions.h"

#include <cmath>
#include <numbers>

#include "backflow/ops/pointwise.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {

Var sin(const Var& x) {
  return pointwise(
      "sin", x, [](Real x) { return std::sin(x); },
      from_input([](Real x, Real g) { return g * std::cos(x); }));
}

Var cos(const Var& x) {
  return pointwise(
      "cos", x, [](Real x) { return std::cos(x); },
      from_input([](Real x, Real g) { return -g * std::sin(x); }));
}

Var erf(const Var& x) {
  return pointwise(
      "erf", x, [](Real x) { return std::erf(x); }, from_input([](Real x, Real g) {
        constexpr Real slope_at_0 = 2 * std::numbers::inv_sqrtpi_v<Real>;
        return g * slope_at_0 * vector_math::exp(-x * x);
      }));
}

// A comparison with NaN is false: what is left when the others are is the case of NaN.
static constexpr auto larger = [](Real a, Real b) { return a >= b || a != a ? a : b; };
static constexpr auto smaller = [](Real a, Real b) { return a <= b || a != a ? a : b; };
static constexpr auto if_first_is_larger = [](Real a, Real b, Real g) {
  return a > b ? g : a < b ? Real(0) : a == b ? g / 2 : a + b;
};
static constexpr auto if_first_is_smaller = [](Real a, Real b, Real g) {
  return if_first_is_larger(b, a, g);
};

Tensor maximum(const Tensor& a, const Tensor& b) { return pointwise("maximum", a, b, larger); }
Tensor minimum(const Tensor& a, const Tensor& b) { return pointwise("minimum", a, b, smaller); }

Var maximum(const Var& a, const Var& b) {
  return pointwise("maximum", a, b, larger, if_first_is_larger, if_first_is_smaller);
}
Var minimum(const Var& a, const Var& b) {
  return pointwise("minimum", a, b, smaller, if_first_is_smaller, if_first_is_larger);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

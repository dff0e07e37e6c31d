#include "backflow/ops/functions.h"

#include <cmath>
#include <limits>
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

// The gradient is made from the output, as those of sigmoid and tanh are.
Var elu(const Var& x) {
  return pointwise(
      "elu", x, [](Real x) { return x > 0 ? x : vector_math::expm1(x); },
      from_output([](Real y, Real g) { return y > 0 ? g : g * (y + 1); }));
}

// Of a small x, e^-x - 1 is what has all digits; of a large one, e^-x.
Var log1mexp(const Var& x) {
  return pointwise(
      "log1mexp", x,
      [](Real x) {
        constexpr Real ln2 = std::numbers::ln2_v<Real>;
        const Real of_small = vector_math::log(-vector_math::expm1(-x));
        return x < ln2 ? of_small : vector_math::log1p(-vector_math::exp(-x));
      },
      from_input([](Real x, Real g) {
        const Real slope = vector_math::exp(-x) / -vector_math::expm1(-x);
        return x < 0 ? std::numeric_limits<Real>::quiet_NaN() : g * slope;
      }));
}

// x s, but 0 with the sign of x where s is 0, though x may be infinite.
static Real vanishing_product(Real x, Real s) { return s == 0 ? std::copysign(s, x) : x * s; }

// beta x, but 0 where beta is 0.
static Real scaled(Real x, Real beta) { return beta == 0 ? beta : beta * x; }

// The derivative of sigmoid(t), with all its digits.
static Real sigmoid_slope(Real t) {
  const Real e = vector_math::exp(-std::abs(t));
  return e / ((1 + e) * (1 + e));
}

Var silu(const Var& x) {
  return pointwise(
      "silu", x, [](Real x) { return vanishing_product(x, vector_math::sigmoid(x)); },
      from_input([](Real x, Real g) {
        return g * (vector_math::sigmoid(x) + vanishing_product(x, sigmoid_slope(x)));
      }));
}

Var lipswish(const Var& x, const Var& beta) {
  constexpr Real least_upper_bound = Real(1.1);  // of the slopes of x sigmoid(beta x), just below
  return pointwise(
      "lipswish", x, beta,
      [](Real x, Real beta) {
        const Real s = vector_math::sigmoid(scaled(x, beta));
        return vanishing_product(x, s) / least_upper_bound;
      },
      [](Real x, Real beta, Real g) {
        const Real t = scaled(x, beta);
        const Real slope = vector_math::sigmoid(t) + vanishing_product(t, sigmoid_slope(t));
        return g * (slope / least_upper_bound);
      },
      [](Real x, Real beta, Real g) {
        const Real change = vanishing_product(x, sigmoid_slope(scaled(x, beta)));
        return g * (vanishing_product(x, change) / least_upper_bound);
      });
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

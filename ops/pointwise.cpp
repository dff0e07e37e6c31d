#include "backflow/ops/pointwise.h"

#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {

Tensor operator+(const Tensor& a, const Tensor& b) {
  return pointwise("add", a, b, [](Real a, Real b) { return a + b; });
}
Tensor operator-(const Tensor& a, const Tensor& b) {
  return pointwise("subtract", a, b, [](Real a, Real b) { return a - b; });
}
static constexpr auto product_of = [](Real a, Real b) { return a * b; };
static constexpr auto ratio_of = [](Real a, Real b) { return a / b; };

Tensor operator*(const Tensor& a, const Tensor& b) {
  return pointwise("multiply", a, b, product_of);
}
Tensor operator/(const Tensor& a, const Tensor& b) { return pointwise("divide", a, b, ratio_of); }
Tensor operator-(const Tensor& x) {
  return pointwise(x, [](Real x) { return -x; });
}

static Tensor pass_on(const Tensor& g) { return g; }
static Tensor negated(const Tensor& g) { return -g; }

Var operator+(const Var& a, const Var& b) {
  return record("add", a.value() + b.value(), grad(a, pass_on), grad(b, pass_on));
}

Var operator-(const Var& a, const Var& b) {
  return record("subtract", a.value() - b.value(), grad(a, pass_on), grad(b, negated));
}

// The gradient of a factor is the other factor times g: a product again.
Var operator*(const Var& a, const Var& b) {
  return pointwise("multiply", a, b, product_of, product_of, product_of);
}

Var operator/(const Var& a, const Var& b) {
  return pointwise(
      "divide", a, b, ratio_of, [](Real b, Real g) { return g / b; },
      [](Real a, Real b, Real g) { return -(g * (a / b) / b); });
}

Var operator-(const Var& x) {
  check_defined("negate", x.value(), 0);
  return record("negate", -x.value(), grad(x, negated));
}

Var exp(const Var& x) {
  return pointwise(
      "exp", x, [](Real x) { return vector_math::exp(x); },
      from_output([](Real y, Real g) { return g * y; }));
}

Var log(const Var& x) {
  return pointwise(
      "log", x, [](Real x) { return vector_math::log(x); },
      from_input([](Real x, Real g) { return g / x; }));
}

Var log1p(const Var& x) {
  return pointwise(
      "log1p", x, [](Real x) { return vector_math::log1p(x); },
      from_input([](Real x, Real g) { return g / (1 + x); }));
}

Var sqrt(const Var& x) {
  return pointwise(
      "sqrt", x, [](Real x) { return std::sqrt(x); },
      from_output([](Real y, Real g) { return g / (2 * y); }));
}

Var square(const Var& x) {
  return pointwise(
      "square", x, [](Real x) { return x * x; },
      from_input([](Real x, Real g) { return 2 * g * x; }));
}

Var abs(const Var& x) {
  return pointwise(
      "abs", x, [](Real x) { return std::abs(x); }, from_input([](Real x, Real g) {
        return x < 0 ? -g : x == 0 ? Real(0) : g;
      }));
}

// ---- From exponentials ------------------------------------------------------------------------

// The gradients of sigmoid and tanh are made from the output: an exponential would cost more than
// all the rest. So their error is within rounding of the largest derivative, and not of each
// derivative.
Var sigmoid(const Var& x) {
  return pointwise(
      "sigmoid", x, [](Real x) { return vector_math::sigmoid(x); },
      from_output([](Real y, Real g) { return g * y * (1 - y); }));
}

Var tanh(const Var& x) {
  return pointwise(
      "tanh", x, [](Real x) { return vector_math::tanh(x); },
      from_output([](Real y, Real g) { return g * (1 - y * y); }));
}

Var log_sigmoid(const Var& x) {
  return pointwise(
      "log_sigmoid", x, [](Real x) { return -vector_math::softplus(-x); },
      from_input([](Real x, Real g) { return g * vector_math::sigmoid(-x); }));
}

Var softplus(const Var& x) {
  return pointwise(
      "softplus", x, [](Real x) { return vector_math::softplus(x); },
      from_input([](Real x, Real g) { return g * vector_math::sigmoid(x); }));
}

// ---- With a case for each sign ----------------------------------------------------------------

Var relu(const Var& x) {
  return pointwise(
      "relu", x, [](Real x) { return x < 0 ? Real(0) : x; },
      from_output([](Real y, Real g) { return y <= 0 ? Real(0) : g; }));
}

Var leaky_relu(const Var& x, double slope) {
  const Real a = slope;
  return pointwise(
      "leaky_relu", x, [a](Real x) { return x < 0 ? a * x : x; },
      from_input([a](Real x, Real g) { return x < 0 ? a * g : g; }));
}

Var clamp(const Var& x, double low, double high) {
  if (!(low <= high))
    fail("clamp", "the lower end ", low, " is above the upper end ", high, ", or one is NaN");
  const Real lo = low, hi = high;
  return pointwise(
      "clamp", x, [lo, hi](Real x) { return x < lo   ? lo
                                            : x > hi ? hi
                                                     : x; },
      from_input([lo, hi](Real x, Real g) { return x < lo || x > hi ? Real(0) : g; }));
}

Var where(const Tensor& condition, const Var& a, const Var& b) {
  check_defined("where", condition, 0);
  check_defined("where", a.value(), 1);
  check_defined("where", b.value(), 2);
  const Tensor yes = pointwise(condition, [](Real c) { return Real(c != 0); });
  // A product with a mask would not do, for x may be NaN. What is not chosen becomes -0, the one
  // number that changes no other when it is added, not even a chosen -0.
  const auto keep = [](Real mask, Real x) { return mask != 0 ? x : Real(-0.0); };
  const auto drop = [](Real mask, Real x) { return mask != 0 ? Real(-0.0) : x; };
  const Tensor y =
      pointwise("where", yes, a.value(), keep) + pointwise("where", yes, b.value(), drop);
  const auto if_kept = [](Real mask, Real g) { return mask != 0 ? g : Real(0); };
  const auto if_dropped = [](Real mask, Real g) { return mask != 0 ? Real(0) : g; };
  return record("where", y,
                grad(a, [=](const Tensor& g) { return pointwise("where", yes, g, if_kept); }),
                grad(b, [=](const Tensor& g) { return pointwise("where", yes, g, if_dropped); }));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

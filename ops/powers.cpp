#include <limits>

#include "backflow/ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Those that need no std::pow, a call for one element at a time. Floats are multiplied in double,
// and rounded once.
static constexpr auto itself = [](Real x) { return x; };
static constexpr auto second_power = [](Real x) { return x * x; };
static constexpr auto third_power = [](Real x) {
  const double d = x;
  return static_cast<Real>(d * d * d);
};
static constexpr auto fourth_power = [](Real x) {
  const double square = static_cast<double>(x) * x;
  return static_cast<Real>(square * square);
};
static constexpr auto reciprocal = [](Real x) { return 1 / x; };
static constexpr auto reciprocal_square = [](Real x) {
  const double r = 1 / static_cast<double>(x);
  return static_cast<Real>(r * r);
};
// As std::pow has it, (-0)^(1/2) is 0, and (-inf)^(1/2) is inf.
static constexpr auto root = [](Real x) {
  constexpr Real inf = std::numeric_limits<Real>::infinity();
  return x == -inf ? inf : std::sqrt(x) + Real(0);
};
static constexpr auto reciprocal_root = [](Real x) { return 1 / root(x); };

template <class F, class G>
static Var power(const Var& x, Real n, F nth, G one_less) {
  return pointwise("pow", x, nth,
                   from_input([n, one_less](Real x, Real g) { return g * n * one_less(x); }));
}

Var pow(const Var& x, double exponent) {
  const Real n = exponent;
  if (n == -1) return power(x, n, reciprocal, reciprocal_square);
  if (n == Real(0.5)) return power(x, n, root, reciprocal_root);
  if (n == 2) return power(x, n, second_power, itself);
  if (n == 3) return power(x, n, third_power, second_power);
  if (n == 4) return power(x, n, fourth_power, third_power);
  return pointwise(
      "pow", x, [n](Real x) { return std::pow(x, n); },
      from_input([n](Real x, Real g) { return n == 0 ? Real(0) : g * n * std::pow(x, n - 1); }));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

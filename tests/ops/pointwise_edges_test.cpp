// Pointwise ops where careless formulas lose digits, signs or the difference between 0 and NaN.
#include <cmath>
#include <limits>

#include "backflow/engine/backward.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Limits = std::numeric_limits<Real>;
constexpr Real inf = Limits::infinity(), nan = Limits::quiet_NaN();

Tensor gradient_at(const std::function<Var(const Var&)>& op, const Tensor& x, Real seed = 1) {
  const Var leaf = Var::leaf(x);
  return backward(op(leaf), Tensor::full(x.shape(), seed))[leaf];
}

TEST(Pow, OfExponentZeroHasGradientZero) {
  for (Real x : {Real(0), Real(2), -inf, nan})
    for (Real g : {Real(1), inf, nan})
      EXPECT_EQ(gradient_at([](const Var& x) { return pow(x, 0); }, Tensor(x), g).item(), 0);
}

long double ulp(long double y) {
  int exponent = 0;
  std::frexp(y, &exponent);
  return std::ldexp(1.0L, std::max(exponent, Limits::min_exponent) - Limits::digits);
}

// Also for the largest and smallest numbers, on whose way no product may overflow.
TEST(Pow, IsWithinTwoUlpOfTheStandardOne) {
  std::vector<Real> x = {0, Real(-0.0), 1, -1, inf, -inf, nan, Limits::max(), Limits::denorm_min()};
  const Tensor random = Random(1).normal({5000}), exponents = Random(2).normal({5000});
  for (Index i = 0; i < random.size(); ++i) {
    x.push_back(random[i]);
    x.push_back(std::ldexp(random[i], static_cast<int>(exponents[i] * Limits::max_exponent / 2)));
  }
  const Tensor X({static_cast<Index>(x.size())}, x);
  for (double n : {-2.0, -1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 1.5}) {
    const Tensor y = pow(Var(X), n).value();
    for (Index i = 0; i < X.size(); ++i) {
      const Real standard = std::pow(X[i], static_cast<Real>(n));
      if (!std::isfinite(standard) || standard == 0) {
        EXPECT_TRUE(std::isnan(standard) ? std::isnan(y[i]) : y[i] == standard)
            << X[i] << " to " << n << " is " << y[i] << ", not " << standard;
        EXPECT_TRUE(std::isnan(standard) || std::signbit(y[i]) == std::signbit(standard)) << X[i];
      } else {
        const long double exact = std::pow(static_cast<long double>(X[i]), n);
        EXPECT_LE(std::abs(y[i] - exact), 2 * ulp(exact)) << X[i] << " to " << n;
      }
    }
  }
}

TEST(Pow, GradientIsThatOfTheStandardOne) {
  for (double n : {-1.0, 0.5, 2.0, 3.0, 4.0, 1.5})
    for (Real x : {Real(0.3), Real(2), Real(0), Real(-0.0), inf}) {
      const Real expected = static_cast<Real>(n) * std::pow(x, static_cast<Real>(n - 1));
      const Real actual = gradient_at([n](const Var& x) { return pow(x, n); }, Tensor(x)).item();
      if (std::isinf(expected)) {
        EXPECT_EQ(actual, expected) << x << " to " << n;
      } else {
        EXPECT_NEAR(actual, expected, 8 * Limits::epsilon() * std::abs(expected))
            << x << " to " << n;
      }
    }
}

TEST(Clamp, ToNoIntervalFails) {
  EXPECT_EQ(error_of([] { clamp(Tensor(1), 10, 0); }),
            "[clamp] the lower end 10 is above the upper end 0, or one is NaN");
  EXPECT_NE(error_of([] { clamp(Tensor(1), nan, 0); }), "no error");
  EXPECT_NE(error_of([] { clamp(Tensor(1), 0, nan); }), "no error");
  EXPECT_EQ(clamp(Tensor(7), 2, 2).item(), 2);
}

TEST(Sigmoid, GradientIsWithinRoundingOfItsLargest) {
  for (double x : {-40.0, -20.0, -3.0, 0.0, 3.0, 10.0, 17.0, 20.0, 40.0}) {
    const double e = std::exp(-std::abs(x));
    EXPECT_NEAR(gradient_at(sigmoid, Tensor(Real(x))).item(), e / ((1 + e) * (1 + e)),
                2 * Limits::epsilon())
        << x;
  }
}

TEST(Tanh, GradientIsWithinRoundingOfOne) {
  for (double x : {-15.0, -5.0, -0.1, 0.0, 1e-3, 5.0, 9.0, 20.0})
    EXPECT_NEAR(gradient_at(tanh, Tensor(Real(x))).item(), 1 / (std::cosh(x) * std::cosh(x)),
                8 * Limits::epsilon())
        << x;
}

TEST(Where, ChosenMinusZeroStaysMinusZero) {
  for (Real other : {Real(0), Real(-0.0), Real(5)}) {
    EXPECT_TRUE(std::signbit(where(Tensor(1), Tensor(-0.0), Tensor(other)).item()));
    EXPECT_TRUE(std::signbit(where(Tensor(0), Tensor(other), Tensor(-0.0)).item()));
    EXPECT_FALSE(std::signbit(where(Tensor(1), Tensor(Real(0)), Tensor(-other)).item()));
  }
}

// As the header says, and its safe way.
TEST(Where, BranchOfInfiniteDerivativeIsSafeWhenItsInputIs) {
  const Var x = Var::leaf(Tensor({2}, {0, 4}));
  const Tensor positive({2}, {0, 1});
  const Tensor seed = Tensor::full({2}, 1);
  EXPECT_TRUE(std::isnan(backward(where(positive, sqrt(x), Real(0)), seed)[x][0]));
  const Var safe = where(positive, sqrt(where(positive, x, Real(1))), Real(0));
  EXPECT_EQ(backward(safe, seed)[x].values(), (std::vector<Real>{0, 0.25}));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

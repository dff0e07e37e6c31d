// What the tables of pointwise_test.cpp do not ask about the ops of functions.h.
#include "backflow/ops/functions.h"

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

// Near a zero of the function, the error is that of the largest value.
TEST(Sine, IsWithinAFewUnitsForLargeArgumentsToo) {
  for (double size : {1.0, 100.0, 1e5, 1e9, 1e20, 1e30}) {
    const Tensor x = pointwise(Random(1).normal({1003}), [size](Real x) { return Real(size * x); });
    const Tensor s = sin(x).value(), c = cos(x).value();
    for (Index i = 0; i < x.size(); ++i) {
      ASSERT_NEAR(s[i], static_cast<double>(std::sin(static_cast<long double>(x[i]))),
                  2 * Limits::epsilon());
      ASSERT_NEAR(c[i], static_cast<double>(std::cos(static_cast<long double>(x[i]))),
                  2 * Limits::epsilon());
    }
  }
}

TEST(Erf, IsFlatFarFromZero) {
  const Var x = Var::leaf(Tensor({4}, {30, -30, inf, -inf}));
  EXPECT_EQ(erf(x).value().values(), (std::vector<Real>{1, -1, 1, -1}));
  EXPECT_EQ(backward(erf(x), Tensor::full({4}, 1))[x].values(), std::vector<Real>(4, 0));
}

// The gradients of both inputs, where that of the output is g.
std::vector<std::vector<Real>> gradients_of(Var (*op)(const Var&, const Var&), const Tensor& a,
                                            const Tensor& b, const Tensor& g) {
  const Var x = Var::leaf(a), y = Var::leaf(b);
  const Gradients all = backward(op(x, y), g);
  return {all[x].values(), all[y].values()};
}

TEST(Maximum, SharesItsGradientAmongTies) {
  const Tensor a({4}, {1, 2, 3, 0}), b({4}, {2, 2, 2, Real(-0.0)}), g({4}, {8, 6, 4, 2});
  EXPECT_EQ(maximum(a, b).values(), (std::vector<Real>{2, 2, 3, 0}));
  EXPECT_EQ(minimum(a, b).values(), (std::vector<Real>{1, 2, 2, 0}));
  EXPECT_EQ(gradients_of(maximum, a, b, g),
            (std::vector<std::vector<Real>>{{0, 3, 4, 1}, {8, 3, 0, 1}}));
  EXPECT_EQ(gradients_of(minimum, a, b, g),
            (std::vector<std::vector<Real>>{{8, 3, 0, 1}, {0, 3, 4, 1}}));
}

TEST(Maximum, OfAVarWithItselfHasTheWholeGradient) {
  const Var x = Var::leaf(Tensor({2}, {1, -1}));
  EXPECT_EQ(backward(maximum(x, x), Tensor({2}, {3, 5}))[x].values(), (std::vector<Real>{3, 5}));
}

TEST(Maximum, OfNaNIsNaNWithGradientsNaN) {
  const Tensor a({3}, {nan, 1, nan}), b({3}, {1, nan, nan});
  for (const auto op : {static_cast<Var (*)(const Var&, const Var&)>(maximum),
                        static_cast<Var (*)(const Var&, const Var&)>(minimum)}) {
    for (Real value : op(a, b).value().values()) EXPECT_TRUE(std::isnan(value));
    for (const auto& gradient : gradients_of(op, a, b, Tensor::full({3}, 1)))
      for (Real value : gradient) EXPECT_TRUE(std::isnan(value));
  }
}

TEST(Maximum, OfInfinitiesIsThatOfNumbers) {
  const Tensor a({4}, {inf, -inf, inf, -inf}), b({4}, {1, 1, inf, -inf}), g = Tensor::full({4}, 2);
  EXPECT_EQ(maximum(a, b).values(), (std::vector<Real>{inf, 1, inf, -inf}));
  EXPECT_EQ(minimum(a, b).values(), (std::vector<Real>{1, -inf, inf, -inf}));
  EXPECT_EQ(gradients_of(maximum, a, b, g),
            (std::vector<std::vector<Real>>{{2, 0, 1, 1}, {0, 2, 1, 1}}));
}

TEST(Maximum, ShapesThatDoNotBroadcastAndUndefinedInputsAreNamed) {
  EXPECT_EQ(error_of([] {
              maximum(Tensor::zeros({2, 3}), Tensor::zeros({4}));
            }),
            "[maximum] shapes do not broadcast: (2, 3) and (4)");
  EXPECT_EQ(error_of([] { minimum(Var(1), Var()); }),
            "[minimum] input 1 is undefined: it has no values");
  EXPECT_EQ(error_of([] { sin(Var()); }), "[sin] input 0 is undefined: it has no values");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

// What the tables of pointwise_test.cpp do not ask about the ops of functions.h.
#include "backflow/ops/functions.h"

#include <cmath>
#include <limits>

#include "backflow/engine/backward.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/ops/reduce.h"
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

TEST(Elu, KeepsSubnormalsAndTheSignOfZero) {
  const Real tiny = Limits::denorm_min();
  const Var x = Var::leaf(Tensor({4}, {Real(-0.0), 0, tiny, -tiny}));
  const Tensor y = elu(x).value();
  EXPECT_EQ(y.values(), (std::vector<Real>{0, 0, tiny, -tiny}));
  EXPECT_TRUE(std::signbit(y[0]));
  EXPECT_FALSE(std::signbit(y[1]));
  EXPECT_EQ(backward(elu(x), Tensor::full({4}, 1))[x].values(), std::vector<Real>(4, 1));
}

// 1 - e^-x is 0 in Real for the least of these, and 1 for the greatest.
TEST(Log1mexp, HasAllDigitsOfSmallAndOfLargeNumbers) {
  const Real tiny = Limits::denorm_min(), least = Limits::min(), x0 = Real(1e-20);
  const Var x = Var::leaf(Tensor({5}, {tiny, least, x0, 40, inf}));
  const Tensor y = log1mexp(x).value(), slope = backward(log1mexp(x), Tensor::full({5}, 1))[x];
  for (Index i : {0, 1, 2}) {
    EXPECT_NEAR(y[i], std::log(x.value()[i]), 2 * Limits::epsilon() * std::abs(y[i]));
    EXPECT_EQ(slope[i], 1 / x.value()[i]);
  }
  const double e = std::exp(-40.0);
  EXPECT_NEAR(y[3], -e, 4 * Limits::epsilon() * e);
  EXPECT_NEAR(slope[3], e, 4 * Limits::epsilon() * e);
  EXPECT_EQ(slope[4], 0);
  const Var bad = Var::leaf(Tensor({2}, {-1, nan}));
  for (Real value : backward(log1mexp(bad), Tensor::full({2}, 1))[bad].values())
    EXPECT_TRUE(std::isnan(value));
}

// Its limits are x / 1.1 on one side and 0 on the other, half of that where beta is 0.
TEST(Lipswish, IsFiniteOrItsLimitAtExtremes) {
  const Real huge = Limits::max() / 2;
  struct Case {
    Real x, beta, y, slope, change;  // change: the derivative by beta
  };
  for (const Case& c : std::vector<Case>{{inf, 1, inf, 1, 0},
                                         {-inf, 1, Real(-0.0), 0, 0},
                                         {huge, 1, huge, 1, 0},
                                         {-huge, 1, Real(-0.0), 0, 0},
                                         {-huge, -1, -huge, 1, 0},
                                         {huge, huge, huge, 1, 0},
                                         {-1, inf, Real(-0.0), 0, 0},
                                         {Real(-0.0), 1, Real(-0.0), 0.5, 0},
                                         {inf, 0, inf, 0.5, inf}}) {
    const Var x = Var::leaf(Tensor(c.x)), beta = Var::leaf(Tensor(c.beta));
    const Var y = lipswish(x, beta);
    const Gradients gradients = backward(y);
    EXPECT_EQ(y.value().item(), c.y / Real(1.1)) << c.x << " " << c.beta;
    EXPECT_EQ(std::signbit(y.value().item()), std::signbit(c.y)) << c.x << " " << c.beta;
    EXPECT_EQ(gradients[x].item(), c.slope / Real(1.1)) << c.x << " " << c.beta;
    EXPECT_EQ(gradients[beta].item(), c.change) << c.x << " " << c.beta;
  }
}

TEST(Lipswish, SlopesAreAtMostOneWhateverBetaIs) {
  const Var x = Var::leaf(Random(1).normal({100'000}) * 4);
  for (double beta : {1e-3, 0.5, 1.0, 30.0}) {
    const Tensor slopes = backward(lipswish(x, beta), Tensor::full(x.shape(), 1))[x];
    for (Real slope : slopes.values()) ASSERT_LE(std::abs(slope), 1) << beta;
    EXPECT_GT(max(slopes).item(), 0.45) << beta;
  }
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

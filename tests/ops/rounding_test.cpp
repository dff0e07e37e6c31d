#include "backflow/ops/rounding.h"

#include <cmath>
#include <limits>

#include "backflow/engine/backward.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

TEST(Rounding, GivesTheNearestMultipleAndTheEvenOneOfTwo) {
  const Tensor x({8}, {0.5, 1.5, -0.5, 2.5, 1.49, -7.51, 1e6, 0});
  EXPECT_EQ(round_to(x).values(), (std::vector<Real>{0, 2, 0, 2, 1, -8, 1e6, 0}));
  EXPECT_EQ(round_to(x, 0.25).values(),
            (std::vector<Real>{0.5, 1.5, -0.5, 2.5, 1.5, -7.5, 1e6, 0}));
}

TEST(Rounding, PassesTheGradientThrough) {
  const Var x = Var::leaf(Tensor({3}, {0.2, 5.7, -3}));
  const Tensor g({3}, {1, -2, 3});
  EXPECT_EQ(backward(round_through(x), g)[x].values(), g.values());
  EXPECT_EQ(backward(round_through(x, 0.125), g)[x].values(), g.values());
}

TEST(Rounding, KeepsInfinitiesAndNaN) {
  constexpr Real inf = std::numeric_limits<Real>::infinity();
  const Tensor y = round_to(Tensor({3}, {inf, -inf, std::numeric_limits<Real>::quiet_NaN()}));
  EXPECT_EQ(y[0], inf);
  EXPECT_EQ(y[1], -inf);
  EXPECT_TRUE(std::isnan(y[2]));
}

TEST(Rounding, RefusesAStepThatIsNone) {
  for (double step : {0.0, -1.0, HUGE_VAL, std::nan("")})
    EXPECT_NE(error_of([&] { round_to(Tensor::zeros({1}), step); }), "no error");
  // These are none in float.
  for (double step : {1e-60, 1e60})
    EXPECT_EQ(error_of([&] { round_to(Tensor::zeros({1}), step); }) == "no error", in_double);
}

TEST(Rounding, LeavesLargeNumbersAsTheyAre) {
  constexpr Real largest = std::numeric_limits<Real>::max();
  const Tensor x({3}, {largest, -largest, Real(1e30)});
  EXPECT_EQ(round_to(x, 0.25).values(), x.values());
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

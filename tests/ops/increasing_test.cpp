#include "backflow/ops/increasing.h"

#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr SlopeBounds bounds{1, 3};
const auto wave = [](double x) -> ValueAndSlope { return {2 * x + std::sin(x), 2 + std::cos(x)}; };

TEST(SolveIncreasing, FindsTheRootToRounding) {
  for (double y : {0.0, 1e-300, -0.3, 7.0, -1e6, 1e200}) {
    const double x = solve_increasing("wave", wave, bounds, y);
    EXPECT_NEAR(wave(x).value, y, 1e-15 * std::abs(y)) << y;
  }
}

// The step is steep at 20 and nearly flat elsewhere: from afar Newton's method jumps across it,
// each time farther.
TEST(SolveIncreasing, BisectsWhereNewtonsMethodDiverges) {
  const auto step = [](double x) -> ValueAndSlope {
    const double t = x - 20;
    return {0.01 * x + std::atan(t), 0.01 + 1 / (1 + t * t)};
  };
  for (double y : {0.2, 0.1, 1.0, -1.5})
    EXPECT_NEAR(step(solve_increasing("step", step, {0.01, 1.01}, y)).value, y, 1e-13) << y;
  EXPECT_NEAR(solve_increasing("step", step, {0.01, 1.01}, 0.2), 20, 1e-12);
}

TEST(SolveIncreasing, IsInfiniteBeyondTheLargestDouble) {
  const double largest = std::numeric_limits<double>::max();
  const auto half = [](double x) -> ValueAndSlope { return {x / 2, 0.5}; };
  EXPECT_TRUE(std::isinf(solve_increasing("half", half, {0.5, 0.5}, largest)));
}

TEST(SolveIncreasing, FailsInTheNameOfTheFlowWhereThereIsNoRoot) {
  const auto none = [](double) -> ValueAndSlope { return {std::nan(""), 1}; };
  const std::string error = error_of([&] { solve_increasing("my_flow", none, {1, 1}, 2); });
  EXPECT_EQ(error.substr(0, error.find(':')), "[my_flow] the inverse did not converge at z = 2");
}

TEST(InvertIncreasing, GivesEachElementTheBitsThatItHasAlone) {
  const Tensor z = Random(1).normal({3, 77}) * 1e3;
  const Tensor x = invert_increasing("wave", z, bounds, wave);
  for (Index i = 0; i < z.size(); ++i) {
    EXPECT_EQ(invert_increasing("wave", Tensor(z[i]), bounds, wave).item(), x[i]);
    EXPECT_NEAR(wave(x[i]).value, z[i], 4e3 * std::numeric_limits<Real>::epsilon());
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

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

// ---- By an interval ---------------------------------------------------------------------------

constexpr double infinity = std::numeric_limits<double>::infinity();

// Counts its evaluations.
template <class S>
double counted(S s, Interval interval, double y, int& evaluations) {
  evaluations = 0;
  const auto counting = [&](double x) { return ++evaluations, s(x); };
  return solve_between("counted", counting, interval, y);
}

TEST(SolveBetween, FindsTheRootToRounding) {
  int evaluations;
  for (Interval interval : {Interval{}, Interval{-2e6, 1e6}, Interval{0, infinity}})
    for (double y : {0.0, 1e-300, -0.3, 7.0, -1e6, 1e6}) {
      const double x = counted(wave, interval, y, evaluations);
      EXPECT_NEAR(wave(x).value, y, 1e-15 * std::abs(y)) << y;
      EXPECT_LE(evaluations, 40) << y;
    }
}

TEST(SolveBetween, NeedsNoSlopes) {
  int evaluations;
  for (double slope : {0.0, infinity, std::nan("")})
    for (double root : {0.0, 3e-310, -1.5, 7e200}) {
      const auto s = [=](double x) -> ValueAndSlope { return {x / 2 - root / 2, slope}; };
      EXPECT_NEAR(counted(s, {}, 0, evaluations), root, std::max(3e-16 * std::abs(root), 1e-323));
      EXPECT_LE(evaluations, 230);
    }
}

// Of an odd power the slope is 0 at the root, and far away Newton's method creeps.
TEST(SolveBetween, FindsRootsOfPowers) {
  int evaluations;
  for (int power : {1, 3, 5, 7})
    for (double root : {1e-30, -0.1, 1.0, 50.0, -1e40}) {
      const auto s = [=](double x) -> ValueAndSlope {
        return {std::pow(x, power), power * std::pow(x, power - 1)};
      };
      const double x = counted(s, {}, std::pow(root, power), evaluations);
      EXPECT_NEAR(x, root, 1e-15 * std::abs(root)) << power;
      EXPECT_LE(evaluations, 100) << power << " " << root;
    }
}

// What planar and Sylvester flows solve: the slope at 0 is 1 + c.
TEST(SolveBetween, FindsTheRootWhereTheSlopeVanishes) {
  int evaluations, most = 0;
  for (double c : {-1.0, -1 + 1e-15, -0.9, 0.0, 3.0, 1e8})
    for (double y : {0.0, 1e-40, -1e-9, 0.3, -5.0, 1e12}) {
      const auto s = [=](double x) -> ValueAndSlope {
        const double t = std::tanh(x);
        return {x + c * t, 1 + c * (1 - t * t)};
      };
      const double reach = std::abs(c), x = counted(s, {y - reach, y + reach}, y, evaluations);
      EXPECT_NEAR(s(x).value, y, 1e-15 * (std::abs(y) + std::abs(x) + reach * std::abs(x))) << c;
      most = std::max(most, evaluations);
    }
  EXPECT_LE(most, 100);
}

// An interval may be a single number, turned round, or beside the root.
TEST(SolveBetween, TakesTheIntervalAsAGuess) {
  for (Interval interval : {Interval{2, 2}, Interval{3, 1}, Interval{5, 6}, Interval{-9, -8},
                            Interval{2, 5}, Interval{1, 2}})
    EXPECT_NEAR(solve_between("wave", wave, interval, wave(2).value), 2, 1e-15)
        << interval.low << " " << interval.high;
}

TEST(SolveBetween, HandsInfinityAndNaNOn) {
  EXPECT_EQ(solve_between("wave", wave, Interval{-1, 1}, infinity), infinity);
  EXPECT_EQ(solve_between("wave", wave, Interval{-1, 1}, -infinity), -infinity);
  EXPECT_TRUE(std::isnan(solve_between("wave", wave, Interval{-1, 1}, std::nan(""))));
}

TEST(SolveBetween, FailsWhereThereIsNoRoot) {
  const auto bounded = [](double x) -> ValueAndSlope { return {std::atan(x), 1 / (1 + x * x)}; };
  const auto error_at = [&](Interval interval, double y) {
    return error_of([&] { solve_between("my_flow", bounded, interval, y); });
  };
  const std::string above = error_at({-1, 1}, 2), below = error_at({}, -2);
  EXPECT_EQ(above.substr(0, above.find(':')), "[my_flow] no x was found with z = 2");
  EXPECT_NE(above.find("all z are less"), std::string::npos) << above;
  EXPECT_NE(below.find("all z are greater"), std::string::npos) << below;
  EXPECT_EQ(error_at({0, std::nan("")}, 1),
            "[my_flow] the inverse at z = 1 was to be between 0 and nan");
  const auto none = [](double) -> ValueAndSlope { return {std::nan(""), 1}; };
  EXPECT_EQ(error_of([&] {
              solve_between("my_flow", none, Interval{0, 2}, 2);
            }),
            "[my_flow] the inverse of z = 2 met NaN at x = 1");
}

TEST(InvertEach, SolvesForEachElementItsOwnFunction) {
  const Tensor z = Random(2).normal({5, 41}), scale = exp(Var(Random(3).normal({5, 41}))).value();
  const auto s = [&](Index i, double x) -> ValueAndSlope {
    return {scale[i] * wave(x).value, scale[i] * wave(x).slope};
  };
  const auto interval = [&](Index i) { return Interval{-1, std::abs(double{z[i]}) / scale[i]}; };
  const Tensor x = invert_each("waves", z, interval, s);
  for (Index i = 0; i < z.size(); ++i)
    EXPECT_NEAR(
        s(i, x[i]).value, z[i],
        4 * scale[i] * std::max(Real(1), std::abs(x[i])) * std::numeric_limits<Real>::epsilon());
}

TEST(InvertTogether, AgreesWithTheSearchOfEachElement) {
  const Tensor z = Random(4).normal({37}) * 3;
  const auto together = [](bool slopes) {
    return [slopes](const Tensor& x) -> std::array<Tensor, 2> {
      const auto no_slope = [](Real) { return std::numeric_limits<Real>::quiet_NaN(); };
      return {
          pointwise(x, [](Real x) { return 2 * x + std::sin(x); }),
          slopes ? pointwise(x, [](Real x) { return 2 + std::cos(x); }) : pointwise(x, no_slope)};
    };
  };
  for (bool slopes : {false, true})
    for (Interval interval : {Interval{}, Interval{-1, 1}}) {
      const Tensor x = invert_together("waves", z, together(slopes), interval);
      for (Index i = 0; i < z.size(); ++i)
        EXPECT_NEAR(x[i], solve_between("wave", wave, Interval{}, z[i]),
                    16 * std::numeric_limits<Real>::epsilon());
    }
  const auto wrong = [](const Tensor& x) { return std::array{x, Tensor(Real(1))}; };
  EXPECT_EQ(error_of([&] { invert_together("waves", z, wrong); }),
            "[waves] values and slopes of shape (37) expected, the shapes are (37) and ()");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

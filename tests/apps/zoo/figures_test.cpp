#include "backflow/apps/zoo/figures.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/apps/pictures/colours.h"
#include "backflow/ops/pointwise.h"
#include "backflow/tests/apps/files/scratch.h"
#include "backflow/tests/apps/pictures/program_path.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

const FigureFrame frame{4, "a title"};
const PlaneDensity eight = density_of(targets()["8gaussians"]);

// log p of `value` everywhere.
PlaneDensity constant(Real value) {
  return [value](const Tensor& x) { return Tensor::full({x.size(0)}, value); };
}

class Figures : public testing::Test {
 protected:
  Picture picture() const { return decode_png(read_file(png_), 3, "picture.png"); }
  // Red, green and blue, added up: magma's grow with the brightness.
  static int light(const Picture& picture, int row, int column) {
    const auto* p = picture.pixels.data() + (Index{row} * picture.width + column) * 3;
    return p[0] + p[1] + p[2];
  }
  Scratch scratch_;
  const std::filesystem::path png_ = scratch_ / "picture.png";
};

TEST_F(Figures, AreBrighterWhereTheDensityIsHigher) {
  const PlaneDensity to_the_right = [](const Tensor& x) {
    Tensor log_p = Tensor::empty({x.size(0)});
    for (Index i = 0; i < log_p.size(); ++i) log_p.mutable_data()[i] = x[2 * i];
    return log_p;
  };
  const Tensor density = density_on_pixels(to_the_right, Window::square(2), 40);
  const Picture map = heat_map(density, brightest_of(density));
  for (int column = 1; column < 40; ++column)
    EXPECT_GE(light(map, 7, column), light(map, 7, column - 1)) << column;
  EXPECT_GT(light(map, 7, 39), 600);
  EXPECT_LT(light(map, 7, 0), light(map, 7, 39) / 2);
}

// At half the density the brightness is sqrt(1/2), and the same density is as bright in both.
TEST_F(Figures, ShowLearnedAndTrueDensityInOneLight) {
  ASSERT_TRUE(
      save_density(png_, frame, constant(std::log(Real(0.01))), constant(std::log(Real(0.02)))));
  const Picture both = picture();
  const int middle = both.height / 2;
  const Rgb half = magma(std::sqrt(0.5)), whole = magma(1);
  EXPECT_EQ(light(both, middle, both.width / 4), half.red + half.green + half.blue);
  EXPECT_EQ(light(both, middle, 3 * both.width / 4), whole.red + whole.green + whole.blue);
}

TEST_F(Figures, TakeADensityThatIsNoNumberForZero) {
  const Real nan = std::numeric_limits<Real>::quiet_NaN();
  const Real infinity = std::numeric_limits<Real>::infinity();
  for (const Real value : {nan, infinity, -infinity}) {
    const Tensor density = density_on_pixels(constant(value), Window::square(1), 5);
    EXPECT_EQ(density.values(), std::vector<Real>(25, 0));
    const Picture map = heat_map(density, brightest_of(density));
    EXPECT_EQ(light(map, 2, 2), light(heat_map(Tensor::zeros({5, 5}), 1), 2, 2));
    EXPECT_TRUE(save_density(png_, frame, constant(value), eight));
    EXPECT_TRUE(save_density(png_, frame, eight, constant(value)));
  }
}

TEST_F(Figures, ADoubledDensityIsLinearBetweenItsPixels) {
  const Tensor doubled = doubled_pixels(Tensor({2, 2}, {0, 4, 8, 12}));
  EXPECT_EQ(doubled.shape(), (Shape{4, 4}));
  EXPECT_EQ(doubled.values(),
            (std::vector<Real>{0, 1, 3, 4, 2, 3, 5, 6, 6, 7, 9, 10, 8, 9, 11, 12}));
  EXPECT_EQ(doubled_pixels(Tensor({1, 1}, {5})).values(), (std::vector<Real>(4, 5)));
}

TEST_F(Figures, ASharpPeakDoesNotDarkenTheRest) {
  Tensor density = Tensor::full({100, 100}, 1);
  density.set({50, 50}, 5);
  EXPECT_EQ(brightest_of(density), 1);
  EXPECT_EQ(brightest_of(Tensor::zeros({3, 3})), 0);
}

// The upper row has the largest y, the first column the least x.
TEST_F(Figures, HaveTheirAxesTheUsualWay) {
  const Tensor points = pixel_middles({0, 4, 10, 18}, 4);
  EXPECT_EQ(points.shape(), (Shape{16, 2}));
  EXPECT_EQ((std::vector{points[0], points[1]}), (std::vector<Real>{0.5, 17}));
  EXPECT_EQ((std::vector{points[30], points[31]}), (std::vector<Real>{3.5, 11}));
}

TEST_F(Figures, APointIsDrawnWhereItLies) {
  const Real nan = std::numeric_limits<Real>::quiet_NaN();
  const Real infinity = std::numeric_limits<Real>::infinity();
  const Tensor points({6, 2}, {0.5, 17, 3.5, 11, 3.5, 11, nan, 11, 1e30, 11, -infinity, 11});
  const Tensor covered = dots_on_pixels(points, {0, 4, 10, 18}, 4, 0.5);
  EXPECT_EQ(covered.at({0, 0}), 1);
  EXPECT_EQ(covered.at({3, 3}), 2);
  EXPECT_EQ(std::ranges::count(covered.values(), 0), 14);
}

TEST_F(Figures, ALineCoversItsPixelsAndStopsAtAGap) {
  const Real nan = std::numeric_limits<Real>::quiet_NaN();
  const Tensor line({5, 2}, {0, 2.5, 3.5, 2.5, nan, nan, 5.5, -50, 5.5, 50});
  const Tensor covered = lines_on_pixels({line}, {0, 8, 0, 8}, 8, 1);
  for (int i = 0; i < 8; ++i) {
    EXPECT_NEAR(covered.at({5, i}), i < 4 || i == 5 ? 1 : 0, 1e-5) << i;  // the row of y = 2.5
    EXPECT_NEAR(covered.at({i, 5}), 1, 1e-5) << i;                        // the column of x = 5.5
    EXPECT_NEAR(covered.at({0, i}), i == 5 ? 1 : 0, 1e-5) << i;
  }
}

TEST_F(Figures, TwoPanelsStandSideBySide) {
  const Tensor few = targets()["8gaussians"].sample(50, Random(1));
  const auto doubled = [](const Tensor& z) { return (2.0 * Var(z)).value(); };
  ASSERT_TRUE(save_density(png_, frame, eight));
  const Picture one = picture();
  ASSERT_TRUE(save_density(png_, frame, eight, eight));
  const Picture two = picture();
  EXPECT_EQ(one.height, two.height);
  EXPECT_GT(two.width, 1.5 * one.width);
  for (const bool grid : {false, true}) {
    ASSERT_TRUE(grid ? save_grid(png_, frame, doubled, eight) : save_points(png_, frame, few, few));
    EXPECT_EQ(picture().width, two.width);
    EXPECT_EQ(picture().height, two.height);
  }
}

TEST_F(Figures, PairsOfColumnsStandInRows) {
  const auto height_of = [&](Index columns) {
    EXPECT_TRUE(save_points(png_, frame, Tensor::zeros({3, columns}), Tensor::zeros({3, columns})));
    return picture().height;
  };
  const int one = height_of(2), two = height_of(4);
  EXPECT_GT(two, 1.5 * one);
  EXPECT_EQ(height_of(3), one);
  EXPECT_EQ(height_of(5), two);
  EXPECT_EQ(height_of(50) - two, two - one);
}

TEST_F(Figures, ExistWithoutGnuplot) {
  const ProgramPath nowhere(scratch_.dir());
  EXPECT_FALSE(save_density(png_, frame, eight, eight));
  const Picture both = picture();
  EXPECT_GT(light(both, both.height / 2, both.width / 4), 0);
  EXPECT_FALSE(save_points(png_, frame, Tensor::zeros({1, 2})));
}

TEST_F(Figures, RefuseWhatIsNotInThePlane) {
  expect_message(message_of([&] {
                   save_points(png_, frame, Tensor::zeros({4, 1}));
                 }),
                 "[save_points] (n, D) with two columns at least expected, the shape is (4, 1)");
  expect_message(message_of([&] {
                   dots_on_pixels(Tensor::zeros({4, 3}), {0, 1, 0, 1}, 8, 1);
                 }),
                 "[dots_on_pixels] points of the plane (n, 2) expected, the shape is (4, 3)");
  expect_message(message_of([&] {
                   save_density(png_, {0, "no width"}, eight);
                 }),
                 "to (0, 0), expected the second corner right of and above");
  expect_message(message_of([&] { save_density(png_, frame, [](const Tensor& x) { return x; }); }),
                 "[density_on_pixels] the density of 4096 points has the shape (4096, 2)");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

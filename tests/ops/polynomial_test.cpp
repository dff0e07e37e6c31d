#include "backflow/ops/polynomial.h"

#include <cmath>

#include "backflow/ops/gradcheck.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Real epsilon = std::numeric_limits<Real>::epsilon();

// Of one element, multiplied out: the value and the slope.
std::array<long double, 2> expanded(const Tensor& a, Index element, double x, double floor) {
  const Index K = a.size(-2), terms = a.size(-1);
  std::array<long double, 2> sums{floor * static_cast<long double>(x), floor};
  for (Index k = 0; k < K; ++k)
    for (Index i = 0; i < terms; ++i)
      for (Index j = 0; j < terms; ++j) {
        const Real* of = a.data() + (element * K + k) * terms;
        const auto product = static_cast<long double>(of[i]) * of[j];
        const auto power = static_cast<int>(i + j);
        sums[0] += product * std::pow(static_cast<long double>(x), power + 1) / (power + 1);
        sums[1] += product * std::pow(static_cast<long double>(x), power);
      }
  return sums;
}

TEST(SumOfSquares, IsTheIntegralOfTheSquares) {
  for (Index K : {1, 2, 5})
    for (Index terms : {1, 2, 3, 4, 8, 16}) {
      const Tensor x = Random(1).normal({7, 3}), a = Random(2).normal({7, 3, K, terms});
      const auto [value, log_slope] = sum_of_squares(x, a, 0.25);
      ASSERT_EQ(value.shape(), x.shape());
      ASSERT_EQ(log_slope.shape(), x.shape());
      for (Index i = 0; i < x.size(); ++i) {
        const auto [v, slope] = expanded(a, i, x[i], 0.25);
        const double tolerance = 100 * static_cast<double>(terms * epsilon);
        EXPECT_NEAR(value.value()[i], double(v), tolerance * std::abs(double(v))) << terms;
        EXPECT_NEAR(log_slope.value()[i], double(std::log(slope)), tolerance * 10) << terms;
      }
    }
}

// Of any rank, and with a derivative in each argument.
TEST(SumOfSquares, GradientsAgreeWithDifferences) {
  const VarFunction f = [](const std::vector<Var>& in) {
    const auto [value, log_slope] = sum_of_squares(in[0], in[1], 0.1);
    return std::vector{value, log_slope};
  };
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{4}, Shape{3, 2}, Shape{2, 3, 2, 2}})
    for (Index terms : {1, 2, 4}) {
      std::vector<Index> sizes;
      for (int axis = 0; axis < shape.rank(); ++axis) sizes.push_back(shape[axis]);
      sizes.insert(sizes.end(), {2, terms});
      const Tensor x = Random(1).normal(shape),
                   a = Random(2).normal(Shape(sizes.begin(), sizes.end()));
      const auto report = gradcheck(f, {x, a});
      EXPECT_TRUE(report) << shape << " " << terms << ": " << report.failure;
    }
}

// Where squares are multiplied out, rounding makes the slope beside a root negative.
TEST(SumOfSquares, SlopeNeverFallsBelowTheFloor) {
  const Tensor a({1, 1, 4}, {-8000, 1200, -60, 1});  // (t - 20)^3
  for (int i = -100; i <= 100; ++i) {
    const Tensor x({1}, {static_cast<Real>(20 + i * 1e-4)});
    EXPECT_GE(sum_of_squares(x, a, 1e-3)[1].value().item(), std::log(1e-3) - 1e-5);
  }
}

TEST(SumOfSquares, HasNoSlopeWhereAllPolynomialsVanish) {
  const Var x = Var::leaf(Tensor({1}, {0})), a = Var::leaf(Tensor({1, 2, 2}, {0, 1, 0, 3}));
  const auto [value, log_slope] = sum_of_squares(x, a);
  EXPECT_EQ(log_slope.value().item(), -std::numeric_limits<Real>::infinity());
  const Gradients gradients = backward(value, Tensor({1}, {1}));
  EXPECT_EQ(gradients[x].item(), 0);
  EXPECT_EQ(gradients[a].values(), std::vector<Real>(4, 0));
}

TEST(SumOfSquares, InverseFindsEveryValue) {
  for (Index terms : {1, 2, 3, 4, 6})
    for (double floor : {0.0, 1e-3}) {
      const Tensor a = Random(1).normal({50, 3, terms});
      for (double size : {0.0, 1e-6, 1.0, 50.0, 1e6}) {
        const Tensor value = Random(2).normal({50}) * static_cast<Real>(size);
        const Tensor x = sum_of_squares_inverse(value, a, floor);
        const Tensor again = sum_of_squares(x, a, floor)[0].value();
        for (Index i = 0; i < value.size(); ++i)
          ASSERT_NEAR(again[i], value[i], 200 * epsilon * std::abs(value[i])) << terms;
      }
    }
}

TEST(SumOfSquares, InverseFindsARootOfNoSlope) {
  const Tensor a({3, 1, 2}, {0, 1, 0, 1, -2, 1});  // x^3 / 3, and that of (t - 2)^2
  const Tensor x = sum_of_squares_inverse(Tensor({3}, {0, 9, Real(8) / 3}), a);
  EXPECT_EQ(x[0], 0);
  EXPECT_NEAR(x[1], 3, 8 * epsilon);
  EXPECT_NEAR(x[2], 2, std::cbrt(100 * epsilon));
}

TEST(SumOfSquares, NaNStaysNaNAndDisturbsNobody) {
  const Real nan = std::numeric_limits<Real>::quiet_NaN();
  const Tensor a = Random(1).normal({3, 2, 3}), x({3}, {1, nan, 2});
  for (const Var& out : sum_of_squares(x, a))
    for (Index i : {0, 1, 2}) EXPECT_EQ(std::isnan(out.value()[i]), i == 1);
  const Tensor back = sum_of_squares_inverse(x, a);
  for (Index i : {0, 1, 2}) EXPECT_EQ(std::isnan(back[i]), i == 1);
}

TEST(SumOfSquares, BitsAreTheSameOnAnyThreads) {
  const Tensor x = Random(1).normal({3000}), a = Random(2).normal({3000, 3, 4});
  expect_same_bits_on_any_threads([&] {
    const Var leaf = Var::leaf(x), coefficients = Var::leaf(a);
    const auto [value, log_slope] = sum_of_squares(leaf, coefficients);
    const Gradients gradients = backward(value * log_slope, Tensor::full(x.shape(), 1));
    return std::vector{value.value(), log_slope.value(), gradients[leaf], gradients[coefficients],
                       sum_of_squares_inverse(x, a)};
  });
}

TEST(SumOfSquares, RefusesOtherShapesAndFloors) {
  const auto error = [](const Shape& x, const Shape& a, double floor = 0) {
    return error_of([&] { sum_of_squares(Tensor::zeros(x), Tensor::full(a, 1), floor); });
  };
  EXPECT_EQ(error({2, 3}, {2, 3, 4}),
            "[sum_of_squares] coefficients (..., K, R + 1) with R <= 15 expected for x (...), the "
            "shapes are (2, 3, 4) and (2, 3)");
  EXPECT_NE(error({2}, {3, 1, 1}), "no error");
  EXPECT_NE(error({2}, {2, 1, 17}), "no error");
  EXPECT_NE(error({2}, {2, 1, 0}), "no error");
  EXPECT_EQ(error({2}, {2, 0, 1}), "no error");
  EXPECT_EQ(error({0}, {0, 2, 3}), "no error");
  EXPECT_EQ(error({2}, {2, 1, 1}, -1),
            "[sum_of_squares] the floor must be at least 0 and finite, got -1");
  EXPECT_NE(error({2}, {2, 1, 1}, std::nan("")), "no error");
  EXPECT_EQ(error_of([] {
              sum_of_squares_inverse(Tensor({1}, {1}), Tensor::zeros({1, 1, 1}));
            }).substr(0, 35),
            "[sum_of_squares] no x was found wit");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

// The gradients of the spline, and both its outputs and gradients at hard inputs.
#include "backflow/engine/parallel.h"
#include "backflow/ops/finite.h"
#include "backflow/tests/check.h"
#include "backflow/tests/ops/spline_reference.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using namespace spline_reference;

// ---- Gradients ----------------------------------------------------------------------------------

TEST(Spline, GradientsAgreeWithDifferences) {
  for (const Case& c : all_cases()) {
    const Parameters p = random_parameters(c.shape, c.bins, c.shared, 0.7);
    const VarFunction f = [](const std::vector<Var>& in) {
      const auto [value, log_derivative] = rational_quadratic_spline(in[0], in[1], in[2], in[3]);
      return std::vector{value, log_derivative};
    };
    GradcheckOptions options;
    options.step = 2e-4;
    const auto report = gradcheck(
        f, {points_between_knots(c.shape, p), p.widths, p.heights, p.derivatives}, options);
    EXPECT_TRUE(report) << named(c) << ": " << report.failure;
  }
}

TEST(Spline, EachOutputAloneHasItsGradient) {
  const Shape shape{4, 3};
  const Parameters p = random_parameters(shape, 5, false, 0.7);
  const std::vector<Tensor> inputs = {points_between_knots(shape, p), p.widths, p.heights,
                                      p.derivatives};
  for (int output : {0, 1}) {
    GradcheckOptions options;
    options.step = 2e-4;
    const VarFunction f = [output](const std::vector<Var>& in) {
      return std::vector{rational_quadratic_spline(in[0], in[1], in[2], in[3])[output]};
    };
    const auto report = gradcheck(f, inputs, options);
    EXPECT_TRUE(report) << "output " << output << ": " << report.failure;
  }
}

TEST(Spline, LogDerivativeIsThatOfTheValue) {
  const Shape shape{40, 30};
  const Var x = Var::leaf(evenly_spaced(shape));
  const auto [value, log_derivative] = spline(x, random_parameters(shape, 5, false));
  const Tensor slope = backward(sum(value))[x];
  for (Index i = 0; i < slope.size(); ++i)
    EXPECT_NEAR(std::log(slope[i]), log_derivative.value()[i], 30 * Limits::epsilon());
}

TEST(Spline, GradientOfXDoesNotDependOnWhoElseNeedsOne) {
  const Shape shape{6, 20};
  const Tensor x = evenly_spaced(shape);
  const Parameters p = random_parameters(shape, 5, false);
  const Var leaf = Var::leaf(x);
  const auto [value, log_derivative] = spline(leaf, p);
  const Tensor alone = backward(sum(value * Random(5).normal(shape)) +
                                sum(log_derivative * Random(6).normal(shape)))[leaf];
  EXPECT_EQ(alone.values(), run(x, p).gradients[0].values());
}

// ---- Hard inputs ------------------------------------------------------------------------------

TEST(Spline, KeepsNaN) {
  const Shape shape{3, 20};
  Tensor x = evenly_spaced(shape);
  const Parameters p = random_parameters(shape, 5, false);
  const Result clean = run(x, p);
  x.mutable_data()[27] = nan;
  const Result r = run(x, p);
  for (Index i = 0; i < x.size(); ++i) {
    EXPECT_EQ(std::isnan(r.value[i]), i == 27);
    EXPECT_EQ(std::isnan(r.log_derivative[i]), i == 27);
    EXPECT_EQ(std::isnan(r.gradients[0][i]), i == 27);
    EXPECT_TRUE(i == 27 || r.value[i] == clean.value[i]);
  }
  for (Index k = 0; k < 5; ++k) {
    EXPECT_TRUE(std::isnan(r.gradients[1][7 * 5 + k]));
    EXPECT_TRUE(std::isnan(r.gradients[2][7 * 5 + k]));
    EXPECT_FALSE(std::isnan(r.gradients[1][8 * 5 + k]));
  }
}

TEST(Spline, OfNaNParametersIsNaN) {
  for (int which : {0, 1}) {
    Parameters p = random_parameters({1, 3}, 5, false);
    (which == 0 ? p.widths : p.heights).mutable_data()[7] = nan;  // of element 1
    const auto [value, log_derivative] = spline(Tensor({1, 3}, {1, 1, 1}), p);
    for (Index i = 0; i < 3; ++i) {
      EXPECT_EQ(std::isnan(value.value()[i]), i == 1);
      EXPECT_EQ(std::isnan(log_derivative.value()[i]), i == 1);
    }
  }
}

std::vector<Real> extreme_points() {
  std::vector<Real> all = {0,           Real(1e-38),   Real(-1e-38),  Real(1e30),
                           Real(-1e30), Limits::max(), -Limits::max()};
  for (Real end : {-10, 10})
    for (Real toward : {-inf, end, inf}) all.push_back(std::nextafter(end, toward));
  for (Real x : evenly_spaced({97}).values()) all.push_back(x);
  return all;
}

TEST(Spline, IsFiniteAtExtremeInputsAndParameters) {
  const std::vector<Real> points = extreme_points();
  const Index n = static_cast<Index>(points.size());
  for (int pattern = 0; pattern < 64; ++pattern) {  // each parameter is 50 or -50
    const auto signs = [&](Index count, int salt) {
      Tensor t = Tensor::empty({count});
      for (Index i = 0; i < count; ++i)
        t.mutable_data()[i] = (pattern * salt >> i) & 1 ? Real(50) : Real(-50);
      return t;
    };
    const Parameters p{signs(5, 1), signs(5, 5), signs(4, 3)};
    const Result r = run(Tensor({n}, points), p);
    EXPECT_TRUE(all_finite(r.value)) << pattern;
    EXPECT_TRUE(all_finite(r.log_derivative)) << pattern;
    for (const Tensor& g : r.gradients) EXPECT_TRUE(all_finite(g)) << pattern;
  }
}

TEST(Spline, OptionsFinerThanRealResolvesFail) {
  const Parameters p = random_parameters({1, 3}, 5, false);
  const auto with = [&](SplineOptions options) {
    return error_of([&] {
      rational_quadratic_spline(Tensor({1, 3}, {1, 2, 3}), p.widths, p.heights, p.derivatives,
                                options);
    });
  };
  const double fine = Limits::epsilon();  // 1e-9 is finer, for a float
  EXPECT_NE(with({.least_width = fine}).find("are too fine for a "), std::string::npos);
  EXPECT_NE(with({.least_height = fine}).find("are too fine for a "), std::string::npos);
  EXPECT_NE(with({.least_derivative = fine}).find("are too fine for a "), std::string::npos);
  EXPECT_NE(with({.bound = Limits::denorm_min()}).find("are too fine for a "), std::string::npos);
}

TEST(Spline, IsFiniteWithTheFinestOptions) {
  const double least = 8.0 * Limits::epsilon();
  SplineOptions finest;
  finest.least_width = finest.least_height = finest.least_derivative = least;
  for (const Real sign : {Real(1), Real(-1)}) {
    Tensor large = Tensor::full({5}, -50 * sign), slopes = Tensor::full({4}, -50);
    large.mutable_data()[2] = 50 * sign;
    const Tensor small = -large, x = evenly_spaced({401});
    const Var leaf = Var::leaf(x), widths = Var::leaf(large), heights = Var::leaf(small);
    const auto [value, log_derivative] =
        rational_quadratic_spline(leaf, widths, heights, slopes, finest);
    EXPECT_TRUE(all_finite(value.value()));
    EXPECT_TRUE(all_finite(log_derivative.value()));
    const Gradients g = backward(sum(value));
    EXPECT_TRUE(all_finite(g[leaf]));
  }
}

TEST(Spline, HasTheSameBitsOnAnyNumberOfThreads) {
  for (bool shared : {false, true}) {
    const Shape shape{300, 150};
    const Tensor x = Random(3).normal(shape) * 5;
    const Parameters p = random_parameters(shape, 5, shared);
    expect_same_bits_on_any_threads([&] {
      const Result r = run(x, p);
      return std::vector{r.value,        r.log_derivative, r.gradients[0],
                         r.gradients[1], r.gradients[2],   r.gradients[3]};
    });
  }
}

TEST(Spline, GradientsOfManyExamplesAddUp) {
  for (bool shared : {false, true}) {
    const Shape shape{700, 33};  // several tasks, strips or rows that are not full
    const Tensor x = Random(3).normal(shape) * 5;
    const Parameters p = random_parameters(shape, 5, shared);
    const auto gradient = [&](const Tensor& x) {
      const Var w = Var::leaf(p.widths);
      const auto [value, log_derivative] =
          rational_quadratic_spline(x, w, p.heights, p.derivatives);
      return backward(sum(value) + sum(log_derivative))[w];
    };
    std::vector<double> total(p.widths.size());
    for (Index b = 0; b < 700; ++b) {
      const auto first = x.data() + b * 33;
      const Tensor g = gradient(Tensor({1, 33}, {first, first + 33}));
      for (Index i = 0; i < g.size(); ++i) total[i] += g[i];
    }
    const Tensor g = gradient(x);
    double largest = 0;
    for (double t : total) largest = std::max(largest, std::abs(t));
    for (Index i = 0; i < g.size(); ++i)
      EXPECT_NEAR(g[i], total[i], 40 * Limits::epsilon() * largest);
  }
}

TEST(Spline, PreparedOfItsParametersHasTheSameBits) {
  for (const Shape& shape : {Shape{1, 33}, Shape{40, 33}, Shape{0, 33}, Shape{4, 0}})
    for (bool shared : {false, true}) {
      const Tensor x = Random(3).normal(shape) * 5;
      const Parameters p = random_parameters(shape, 5, shared);
      const auto prepared = prepared_splines(p.widths, p.heights, p.derivatives, {.bound = 7});
      const auto expected =
          rational_quadratic_spline(x, p.widths, p.heights, p.derivatives, {.bound = 7});
      const auto found = rational_quadratic_spline(x, p.widths, p.heights, p.derivatives, prepared);
      for (std::size_t i = 0; i < 2; ++i)
        EXPECT_EQ(found[i].value().values(), expected[i].value().values());
      EXPECT_EQ(
          rational_quadratic_spline_inverse(x, p.widths, p.heights, p.derivatives, prepared)
              .values(),
          rational_quadratic_spline_inverse(x, p.widths, p.heights, p.derivatives, {.bound = 7})
              .values());
    }
}

TEST(Spline, PreparedOfOtherParametersFails) {
  const Shape shape{4, 100};
  const Parameters p = random_parameters(shape, 5, false),
                   of_more = random_parameters({1, 200}, 5, false);
  for (const auto& prepared :
       {prepared_splines(of_more.widths, of_more.heights, of_more.derivatives), {}})
    EXPECT_EQ(
        message_of([&] {
          rational_quadratic_spline(Tensor::zeros(shape), p.widths, p.heights, p.derivatives,
                                    prepared);
        }),
        "[rational_quadratic_spline] the splines were prepared of parameters of other shapes");
}

TEST(Spline, OfNothingIsEmpty) {
  for (const Shape& shape : {Shape{0, 3}, Shape{4, 0}})
    for (bool shared : {false, true}) {
      const Parameters p = random_parameters(shape, 5, shared);
      const Result r = run(Tensor::empty(shape), p);
      EXPECT_EQ(r.value.shape(), shape);
      EXPECT_EQ(r.log_derivative.shape(), shape);
      EXPECT_EQ(r.gradients[1].values(), std::vector<Real>(p.widths.size(), 0));
      EXPECT_EQ(
          rational_quadratic_spline_inverse(r.value, p.widths, p.heights, p.derivatives).shape(),
          shape);
    }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

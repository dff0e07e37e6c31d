// Splines of one element each, against the formula written out for one element, and against the
// layout of one spline for each element of an example.
#include "backflow/ops/finite.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/check.h"
#include "backflow/tests/ops/spline_reference.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using namespace spline_reference;

struct Layout {
  Shape shape;
  Index bins;
};
const std::vector<Layout> layouts{{{3, 2, 3, 3}, 5}, {{2, 1}, 1},  {{5, 1}, 2},
                                  {{9}, 8},          {{7, 67}, 8}, {{40}, 17}};

Parameters parameters_of(const Shape& x, Index bins, double scale = 1) {
  Shape knots = x, inner = x;
  knots.push_back(bins), inner.push_back(bins - 1);
  const auto normal = [scale](std::uint64_t seed, const Shape& shape) {
    return Random(seed).normal({1, shape.size()}).reshape(shape) * static_cast<Real>(scale);
  };
  return {normal(11, knots), normal(12, knots), normal(13, inner)};
}

Tensor in_one(const Parameters& p) { return concat({p.widths, p.heights, p.derivatives}, -1); }

TEST(SplinePerElement, IsItsFormula) {
  for (const auto& [shape, bins] : layouts) {
    const Parameters p = parameters_of(shape, bins);
    for (const Tensor& x : {points_between_knots(shape, p), evenly_spaced(shape)}) {
      const auto [value, log_derivative] = spline(x, p);
      for (Index i = 0; i < x.size(); ++i)
        expect_near(value.value()[i], log_derivative.value()[i], Reference(p, i), x[i]);
    }
  }
}

TEST(SplinePerElement, HonoursItsOptions) {
  const SplineOptions options{3, 0.05, 0.1, 0.25};
  const Parameters p = parameters_of({50}, 4, 3);
  const Tensor x = evenly_spaced({50});
  const auto [value, log_derivative] = spline(x, p, options);
  for (Index i = 0; i < x.size(); ++i)
    expect_near(value.value()[i], log_derivative.value()[i], Reference(p, i, options), x[i]);
  const std::string error = error_of([&] { spline(x, p, {10, 0.3}); });
  EXPECT_EQ(
      error.rfind("[rational_quadratic_spline] no spline of 4 bins has bound 10, least width", 0),
      0u)
      << error;
}

TEST(SplinePerElement, OfZerosIsTheIdentity) {
  const Tensor x = evenly_spaced({10, 29});
  const auto [value, log_derivative] = rational_quadratic_spline(x, Tensor::zeros({10, 29, 23}));
  for (Index i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(value.value()[i], x[i], 40 * Limits::epsilon());
    EXPECT_NEAR(log_derivative.value()[i], 0, 40 * Limits::epsilon());
  }
}

TEST(SplinePerElement, HasTheSameBitsWithItsParametersInOneTensor) {
  const Shape shape{70, 33};
  const Tensor x = evenly_spaced(shape);
  const Parameters p = parameters_of(shape, 8);
  const Result r = run(x, p);
  const Var leaf = Var::leaf(x), all = Var::leaf(in_one(p));
  const auto [value, log_derivative] = rational_quadratic_spline(leaf, all);
  EXPECT_EQ(value.value().values(), r.value.values());
  EXPECT_EQ(log_derivative.value().values(), r.log_derivative.values());
  const Gradients g = backward(sum(value * Random(5).normal(shape)) +
                               sum(log_derivative * Random(6).normal(shape)));
  EXPECT_EQ(g[leaf].values(), r.gradients[0].values());
  EXPECT_EQ(g[all].values(), concat({r.gradients[1], r.gradients[2], r.gradients[3]}, -1).values());
  EXPECT_EQ(rational_quadratic_spline_inverse(value.value(), all.value()).values(),
            rational_quadratic_spline_inverse(value.value(), p.widths, p.heights, p.derivatives)
                .values());
}

// (1, D, K) is the layout of one spline for each element of an example, too.
TEST(SplinePerElement, OfOneExampleIsTheSplineOfEachElement) {
  const Shape shape{1, 67};
  const Parameters p = parameters_of(shape, 8, 0.5);
  const Tensor x = points_between_knots(shape, p);
  const Result r = run(x, p);
  const Var leaf = Var::leaf(x), all = Var::leaf(in_one(p));
  const auto [value, log_derivative] = rational_quadratic_spline(leaf, all);
  const double tolerance = 1000 * Limits::epsilon();
  expect_close(value.value(), r.value, tolerance, "value");
  expect_close(log_derivative.value(), r.log_derivative, tolerance, "log-derivative");
  const Gradients g = backward(sum(value * Random(5).normal(shape)) +
                               sum(log_derivative * Random(6).normal(shape)));
  expect_close(g[leaf], r.gradients[0], tolerance, "the gradient of x");
  expect_close(g[all], concat({r.gradients[1], r.gradients[2], r.gradients[3]}, -1), tolerance,
               "the gradient of the parameters");
}

TEST(SplinePerElement, IsContinuousAtTheKnotsWithItsDerivative) {
  const Shape shape{3, 40};  // before, at and behind the knot
  const Parameters one = random_parameters({1, 40}, 5, false);
  const auto three = [](const Tensor& t) { return concat({t, t, t}, 0); };
  const Parameters p{three(one.widths), three(one.heights), three(one.derivatives)};
  for (Index k = 0; k <= 5; ++k) {
    Tensor x = Tensor::empty(shape);
    for (Index i = 0; i < 40; ++i) {
      const Real knot = static_cast<Real>(Reference(p, i).x[k]);
      x.mutable_data()[i] = std::nextafter(knot, -inf);
      x.mutable_data()[40 + i] = knot;
      x.mutable_data()[80 + i] = std::nextafter(knot, inf);
    }
    const auto [value, log_derivative] = spline(x, p);
    for (Index i = 0; i < 120; ++i) {
      const Reference r(p, i);
      const auto [tolerance, tolerance_log] = r.rounding(r.x[k]);
      EXPECT_NEAR(value.value()[i], r.y[k], tolerance) << "knot " << k;
      EXPECT_NEAR(log_derivative.value()[i], std::log(r.slope[k]), tolerance_log) << "knot " << k;
    }
  }
}

// ---- Gradients ----------------------------------------------------------------------------------

TEST(SplinePerElement, GradientsAgreeWithDifferences) {
  for (const auto& [shape, bins] : layouts) {
    const Parameters p = parameters_of(shape, bins, 0.5);
    const VarFunction f = [](const std::vector<Var>& in) {
      const auto [value, log_derivative] = rational_quadratic_spline(in[0], in[1], in[2], in[3]);
      return std::vector{value, log_derivative};
    };
    GradcheckOptions options;
    options.step = 2e-4;
    const auto report =
        gradcheck(f, {points_between_knots(shape, p), p.widths, p.heights, p.derivatives}, options);
    EXPECT_TRUE(report) << shape << ": " << report.failure;
  }
}

TEST(SplinePerElement, LogDerivativeIsThatOfTheValue) {
  const Shape shape{40, 30};
  const Var x = Var::leaf(evenly_spaced(shape));
  const auto [value, log_derivative] = spline(x, parameters_of(shape, 5));
  const Tensor slope = backward(sum(value))[x];
  for (Index i = 0; i < slope.size(); ++i)
    EXPECT_NEAR(std::log(slope[i]), log_derivative.value()[i], 30 * Limits::epsilon());
}

// ---- Hard inputs --------------------------------------------------------------------------------

TEST(SplinePerElement, IsTheIdentityBeyondTheBound) {
  const Tensor x({2, 4}, {-inf, inf, Real(-1e30), Real(1e30), std::nextafter(Real(10), inf),
                          std::nextafter(Real(-10), -inf), 11, -500});
  const Result r = run(x, parameters_of(x.shape(), 5));
  EXPECT_EQ(r.value.values(), x.values());
  EXPECT_EQ(r.log_derivative.values(), std::vector<Real>(8, 0));
  EXPECT_EQ(r.gradients[0].values(), Random(5).normal(x.shape()).values());
  for (int i : {1, 2, 3}) EXPECT_EQ(sum(abs(r.gradients[i])).item(), 0);
}

TEST(SplinePerElement, KeepsNaNWhereItIs) {
  const Shape shape{5, 20};
  Tensor x = evenly_spaced(shape);
  Parameters p = parameters_of(shape, 5);
  x.mutable_data()[47] = nan;
  p.heights.mutable_data()[50 * 5 + 2] = nan;
  const Result r = run(x, p);
  for (Index i = 0; i < x.size(); ++i) {
    const bool is_nan = i == 47 || i == 50;
    EXPECT_EQ(std::isnan(r.value[i]), is_nan) << i;
    EXPECT_EQ(std::isnan(r.log_derivative[i]), is_nan) << i;
    for (Index k = 0; k < 5; ++k) EXPECT_EQ(std::isnan(r.gradients[2][i * 5 + k]), is_nan) << i;
  }
}

// All numbers large, of any sign, at points of all kinds.
Parameters extreme_parameters(Index n, Real size) {
  Parameters p = parameters_of({n}, 5);
  for (Tensor* t : {&p.widths, &p.heights, &p.derivatives})
    for (Index i = 0; i < t->size(); ++i) t->mutable_data()[i] = (*t)[i] > 0 ? size : -size;
  return p;
}

TEST(SplinePerElement, IsFiniteAtExtremeParameters) {
  const Tensor x = evenly_spaced({3000});
  for (Real size : {Real(50), Real(1e4)}) {
    const Parameters p = extreme_parameters(3000, size);
    const Result r = run(x, p);
    EXPECT_TRUE(all_finite(r.value));
    EXPECT_TRUE(all_finite(r.log_derivative));
    for (const Tensor& g : r.gradients) EXPECT_TRUE(all_finite(g));
    EXPECT_TRUE(all_finite(rational_quadratic_spline_inverse(x, in_one(p))));
  }
}

TEST(SplinePerElement, IsFiniteWithTheFinestOptions) {
  SplineOptions finest;
  finest.least_width = finest.least_height = finest.least_derivative = 8.0 * Limits::epsilon();
  const Tensor x = evenly_spaced({3000});
  const Tensor p = in_one(extreme_parameters(3000, 50));
  const Var leaf = Var::leaf(x);
  const auto [value, log_derivative] = rational_quadratic_spline(leaf, p, finest);
  EXPECT_TRUE(all_finite(value.value()));
  EXPECT_TRUE(all_finite(log_derivative.value()));
  EXPECT_TRUE(all_finite(backward(sum(value))[leaf]));
  EXPECT_TRUE(all_finite(rational_quadratic_spline_inverse(x, p, finest)));
}

TEST(SplinePerElement, OfNothingIsEmpty) {
  for (const Shape& shape : {Shape{0, 3}, Shape{4, 0}}) {
    const Parameters p = parameters_of(shape, 5);
    const Result r = run(Tensor::empty(shape), p);
    EXPECT_EQ(r.value.shape(), shape);
    EXPECT_EQ(r.gradients[1].shape(), p.widths.shape());
    EXPECT_EQ(rational_quadratic_spline_inverse(r.value, in_one(p)).shape(), shape);
  }
}

TEST(SplinePerElement, WrongShapesAreNamed) {
  const auto error = [](const Shape& x, const Shape& p) {
    return error_of([&] { rational_quadratic_spline(Tensor::zeros(x), Tensor::zeros(p)); });
  };
  EXPECT_EQ(
      error({4, 2}, {4, 2, 6}),
      "[rational_quadratic_spline] for x of (4, 2) the parameters must be (..., 3 K - 1); they "
      "are (4, 2, 6)");
  for (const Shape& p :
       {Shape{}, Shape{5}, Shape{1, 2, 5}, Shape{4, 5}, Shape{4, 2, 0}, Shape{4, 2, 1}})
    EXPECT_NE(error({4, 2}, p), "no error") << p;
  EXPECT_EQ(error_of([] {
              rational_quadratic_spline_inverse(Tensor::zeros({2}), Tensor::zeros({2, 3}));
            }).rfind("[rational_quadratic_spline_inverse] for x of (2)", 0),
            0u);
}

// ---- Bits ---------------------------------------------------------------------------------------

TEST(SplinePerElement, HasTheSameBitsOnAnyNumberOfThreadsAndAlone) {
  const Shape shape{90, 33};
  const Tensor x = Random(3).normal(shape) * 5;
  const Parameters p = parameters_of(shape, 8);
  expect_same_bits_on_any_threads([&] {
    const Result r = run(x, p);
    return std::vector{r.value,        r.log_derivative, r.gradients[0],
                       r.gradients[1], r.gradients[2],   r.gradients[3]};
  });
  const Tensor all = in_one(p);
  const auto [value, log_derivative] = rational_quadratic_spline(x, all);
  for (Index b : {0, 44, 89}) {
    const auto row = [b](const Tensor& of) { return slice(of, 0, b, b + 1); };
    const auto [v, l] = rational_quadratic_spline(row(x), row(all));
    EXPECT_EQ(v.value().values(), row(value.value()).values());
    EXPECT_EQ(l.value().values(), row(log_derivative.value()).values());
  }
}

// ---- The inverse
// ----------------------------------------------------------------------------------

TEST(SplinePerElementInverse, UndoesTheSpline) {
  for (const auto& [shape, bins] : layouts)
    for (double scale : {0.3, 1.0}) {
      const Parameters p = parameters_of(shape, bins, scale);
      for (const Tensor& x : {points_between_knots(shape, p), evenly_spaced(shape)}) {
        const Tensor z = spline(x, p)[0].value();
        expect_close(rational_quadratic_spline_inverse(z, p.widths, p.heights, p.derivatives), x,
                     spline_reference::in_double ? 1e-9 : 1e-3, "inverse(forward(x))");
      }
    }
}

// Where it is as flat as it may be, x has fewer digits than z.
TEST(SplinePerElementInverse, IsUndoneByTheSpline) {
  const Shape shape{500, 16};
  for (double scale : {1.0, 3.0, 50.0}) {
    const Parameters p = parameters_of(shape, 5, scale);
    const Tensor z = evenly_spaced(shape);
    const Tensor x = rational_quadratic_spline_inverse(z, p.widths, p.heights, p.derivatives);
    const auto [value, log_derivative] = spline(x, p);
    for (Index i = 0; i < z.size(); ++i) {
      const double slope = std::exp(log_derivative.value()[i]);
      ASSERT_NEAR(value.value()[i], z[i], 100 * Limits::epsilon() * (1 + slope)) << scale;
    }
  }
}

TEST(SplinePerElementInverse, KeepsTheEndsAndWhatIsBeyond) {
  const Tensor z({7}, {-10, 10, -inf, inf, Real(-1e30), 10.5, nan});
  const Tensor x = rational_quadratic_spline_inverse(z, in_one(parameters_of({7}, 5, 3)));
  EXPECT_NEAR(x[0], -10, 20 * Limits::epsilon());
  EXPECT_NEAR(x[1], 10, 100 * Limits::epsilon());
  for (Index i = 2; i < 6; ++i) EXPECT_EQ(x[i], z[i]);
  EXPECT_TRUE(std::isnan(x[6]));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

// The spline against its formula, written out for one element in double.
#include "ops/spline.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "engine/gradcheck.h"
#include "engine/parallel.h"
#include "engine/random.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Limits = std::numeric_limits<Real>;
constexpr Real nan = Limits::quiet_NaN(), inf = Limits::infinity();
constexpr bool in_double = sizeof(Real) == sizeof(double);

struct Parameters {
  Tensor widths, heights, derivatives;
};

// For examples of the shape of x's; shared by all elements, or one set for each.
Parameters random_parameters(const Shape& x, Index bins, bool shared, double scale = 1) {
  Shape shape;
  if (!shared) shape = x, shape[0] = 1;
  shape.push_back(bins);
  Shape inner = shape;
  --inner[-1];
  const auto normal = [&](std::uint64_t seed, const Shape& shape) {
    return Random(seed).normal(shape) * static_cast<Real>(scale);
  };
  return {normal(11, shape), normal(12, shape), normal(13, inner)};
}

std::array<Var, 2> spline(const Var& x, const Parameters& p, const SplineOptions& options = {}) {
  return rational_quadratic_spline(x, p.widths, p.heights, p.derivatives, options);
}

// ---- The reference ----------------------------------------------------------------------------

struct Reference {
  Reference(const Parameters& p, Index spline, const SplineOptions& options = {})
      : bins(p.widths.size(-1)),
        x(knots(p.widths, spline, options.least_width, options.bound)),
        y(knots(p.heights, spline, options.least_height, options.bound)) {
    slope.assign(bins + 1, 1);
    const double least = options.least_derivative, shift = std::log(std::exp(1 - least) - 1);
    for (Index k = 1; k < bins; ++k) {
      const double p_k = p.derivatives[spline * (bins - 1) + k - 1] + shift;
      slope[k] = least + (p_k > 30 ? p_k : std::log1p(std::exp(p_k)));
    }
  }

  std::vector<double> knots(const Tensor& parameters, Index spline, double least, double bound) {
    std::vector<double> share;
    double total = 0;
    for (Index k = 0; k < bins; ++k)
      total += share.emplace_back(std::exp(double{parameters[spline * bins + k]}));
    std::vector<double> at{-bound};
    for (double s : share)
      at.push_back(at.back() + 2 * bound * (least + (1 - bins * least) * s / total));
    at.back() = bound;
    return at;
  }

  std::pair<double, double> operator()(double in) const {  // value, log-derivative
    if (in < x.front() || in > x.back()) return {in, 0};
    Index k = 0;
    while (k + 1 < bins && in >= x[k + 1]) ++k;
    const double width = x[k + 1] - x[k], height = y[k + 1] - y[k], s = height / width;
    const double t = (in - x[k]) / width, d0 = slope[k], d1 = slope[k + 1];
    const double denominator = s + (d1 + d0 - 2 * s) * t * (1 - t);
    const double value = y[k] + height * (s * t * t + d0 * t * (1 - t)) / denominator;
    const double numerator = s * s * (d1 * t * t + 2 * s * t * (1 - t) + d0 * (1 - t) * (1 - t));
    return {value, std::log(numerator) - 2 * std::log(denominator)};
  }

  // What rounding x and the knots to Real may do to {value, log-derivative} at x: as much as moving
  // x by an ulp or two does, and the relative error of the narrowest width or height.
  std::pair<double, double> rounding(double in) const {
    constexpr double epsilon = Limits::epsilon();
    const auto [value, log_derivative] = (*this)(in);
    double moved = 40 * epsilon, bent = 40 * epsilon;
    for (double step : {-30 * epsilon, 30 * epsilon}) {
      const auto [v, l] = (*this)(in + step);
      moved += std::abs(v - value), bent += std::abs(l - log_derivative);
    }
    for (Index k = 0; k < bins; ++k)
      for (const auto& at : {x, y}) bent = std::max(bent, 40 * epsilon / (at[k + 1] - at[k]));
    return {moved, bent};
  }

  Index bins;
  std::vector<double> x, y, slope;
};

void expect_near(Real value, Real log_derivative, const Reference& reference, double x) {
  const auto [expected, expected_log] = reference(x);
  const auto [tolerance, tolerance_log] = reference.rounding(x);
  EXPECT_NEAR(value, expected, tolerance) << "the value at " << x;
  EXPECT_NEAR(log_derivative, expected_log, tolerance_log) << "the log-derivative at " << x;
}

// Of the element i of x.
Reference reference_at(const Parameters& p, Index i) {
  const Index splines = p.widths.size() / p.widths.size(-1);
  return {p, i % splines};
}

// Points in all bins and beyond both bounds, none near a knot: there the spline has no second
// derivative, and differences of the first are wrong.
Tensor points_between_knots(const Shape& shape, const Parameters& p) {
  Tensor x = Random(2).uniform(shape);
  Real* out = x.mutable_data();
  for (Index i = 0; i < x.size(); ++i) {
    const Reference r = reference_at(p, i);
    const Index examples_before = i / std::max<Index>(1, x.size() / x.size(0));
    const Index k = (i + examples_before) % (r.bins + 2);
    const double t = 0.2 + 0.6 * out[i];
    const double at = k == r.bins       ? -10 - t
                      : k == r.bins + 1 ? 10 + t
                                        : r.x[k] + t * (r.x[k + 1] - r.x[k]);
    out[i] = static_cast<Real>(at);
  }
  return x;
}

// From -12 to 12.
Tensor evenly_spaced(const Shape& shape) {
  Tensor x = Tensor::empty(shape);
  for (Index i = 0; i < x.size(); ++i)
    x.mutable_data()[i] = static_cast<Real>(-12 + 24.0 * i / (x.size() - 1));
  return x;
}

struct Case {
  Shape shape;
  Index bins;
  bool shared;
};

std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (bool shared : {false, true})
    for (const Shape& shape :
         {Shape{3, 2, 3, 3}, Shape{1, 7}, Shape{5, 1}, Shape{9}, Shape{2, 3, 67}})
      for (Index bins : {1, 2, 5, 8}) all.push_back({shape, bins, shared});
  return all;
}

std::string named(const Case& c) {
  std::ostringstream out;
  out << c.shape << ", " << c.bins << (c.shared ? " shared bins" : " bins");
  return out.str();
}

template <class F>
std::string message_of(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

// The outputs' values and the gradients of all inputs, for random gradients of the outputs.
struct Result {
  Tensor value, log_derivative;
  std::vector<Tensor> gradients;
};

Result run(const Tensor& x, const Parameters& p, const SplineOptions& options = {}) {
  const std::vector<Var> in = {Var::leaf(x), Var::leaf(p.widths), Var::leaf(p.heights),
                               Var::leaf(p.derivatives)};
  const auto [value, log_derivative] =
      rational_quadratic_spline(in[0], in[1], in[2], in[3], options);
  const Gradients g = backward(sum(value * Random(5).normal(x.shape())) +
                               sum(log_derivative * Random(6).normal(x.shape())));
  return {value.value(), log_derivative.value(), {g[in[0]], g[in[1]], g[in[2]], g[in[3]]}};
}

// ---- Values -----------------------------------------------------------------------------------

TEST(Spline, IsItsFormula) {
  for (const Case& c : all_cases()) {
    const Parameters p = random_parameters(c.shape, c.bins, c.shared);
    for (const Tensor& x : {points_between_knots(c.shape, p), evenly_spaced(c.shape)}) {
      const auto [value, log_derivative] = spline(x, p);
      SCOPED_TRACE(named(c));
      for (Index i = 0; i < x.size(); ++i)
        expect_near(value.value()[i], log_derivative.value()[i], reference_at(p, i), x[i]);
    }
  }
}

TEST(Spline, OfZerosIsTheIdentity) {
  const Tensor x = evenly_spaced({10, 29});
  const auto [value, log_derivative] =
      spline(x, {Tensor::zeros({5}), Tensor::zeros({5}), Tensor::zeros({4})});
  for (Index i = 0; i < x.size(); ++i) {
    EXPECT_NEAR(value.value()[i], x[i], 20 * Limits::epsilon());
    EXPECT_NEAR(log_derivative.value()[i], 0, 20 * Limits::epsilon());
  }
}

TEST(Spline, HonoursItsOptions) {
  const SplineOptions options{3, 0.05, 0.1, 0.25};
  const Parameters p = random_parameters({1}, 4, true, 3);
  const Reference reference(p, 0, options);
  const Tensor x = evenly_spaced({1000});
  const auto [value, log_derivative] = spline(x, p, options);
  for (Index i = 0; i < x.size(); ++i)
    expect_near(value.value()[i], log_derivative.value()[i], reference, x[i]);
}

TEST(Spline, IsContinuousAtTheKnotsWithItsDerivative) {
  const Parameters p = random_parameters({1, 40}, 5, false);
  for (Index k = 0; k <= 5; ++k) {
    Tensor x = Tensor::empty({3, 40});  // before, at and behind the knot
    for (Index i = 0; i < 40; ++i) {
      const Real knot = static_cast<Real>(Reference(p, i).x[k]);
      x.mutable_data()[i] = std::nextafter(knot, -inf);
      x.mutable_data()[40 + i] = knot;
      x.mutable_data()[80 + i] = std::nextafter(knot, inf);
    }
    const auto [value, log_derivative] = spline(x, p);
    for (Index i = 0; i < 120; ++i) {
      const Reference r(p, i % 40);
      const auto [tolerance, tolerance_log] = r.rounding(r.x[k]);
      EXPECT_NEAR(value.value()[i], r.y[k], tolerance) << "knot " << k;
      EXPECT_NEAR(log_derivative.value()[i], std::log(r.slope[k]), tolerance_log) << "knot " << k;
    }
  }
}

TEST(Spline, Increases) {
  const Parameters p = random_parameters({1}, 5, true);
  const Tensor z = spline(evenly_spaced({5000}), p)[0].value();
  for (Index i = 1; i < z.size(); ++i) EXPECT_GT(z[i], z[i - 1]);
}

TEST(Spline, IsTheIdentityBeyondTheBound) {
  const Tensor x({2, 4}, {-inf, inf, Real(-1e30), Real(1e30), std::nextafter(Real(10), inf),
                          std::nextafter(Real(-10), -inf), 11, -500});
  const auto [value, log_derivative] = spline(x, random_parameters(x.shape(), 5, false));
  EXPECT_EQ(value.value().values(), x.values());
  EXPECT_EQ(log_derivative.value().values(), std::vector<Real>(8, 0));
}

TEST(Spline, HasTheSameBitsInAnyBatch) {
  for (bool shared : {false, true}) {
    const Shape shape{150, 70};
    const Tensor x = Random(3).normal(shape) * 5;
    const Parameters p = random_parameters(shape, 5, shared);
    const auto [value, log_derivative] = spline(x, p);
    for (Index b : {0, 77, 149}) {
      const auto first = x.data() + b * 70;
      const auto [v, l] = spline(Tensor({1, 70}, {first, first + 70}), p);
      for (Index i = 0; i < 70; ++i) {
        EXPECT_EQ(v.value()[i], value.value()[b * 70 + i]);
        EXPECT_EQ(l.value()[i], log_derivative.value()[b * 70 + i]);
      }
    }
  }
}

// ---- The inverse --------------------------------------------------------------------------------

void check_inverse(const Tensor& x, const Parameters& p, double tolerance) {
  const Tensor z = spline(x, p)[0].value();
  const Tensor again = rational_quadratic_spline_inverse(z, p.widths, p.heights, p.derivatives);
  ASSERT_EQ(again.shape(), x.shape());
  for (Index i = 0; i < x.size(); ++i)
    ASSERT_NEAR(again[i], x[i], tolerance) << x.shape() << ", element " << i;
}

TEST(SplineInverse, UndoesTheSpline) {
  for (const Case& c : all_cases())
    for (double scale : {0.3, 1.0}) {  // normal parameters make slopes of a hundredth
      const Parameters p = random_parameters(c.shape, c.bins, c.shared, scale);
      const double tolerance = in_double ? 1e-9 : scale < 1 ? 1e-4 : 1e-3;
      check_inverse(points_between_knots(c.shape, p), p, tolerance);
      check_inverse(evenly_spaced(c.shape), p, tolerance);
    }
}

TEST(SplineInverse, UndoesAFineGridOfManySplines) {
  const Shape shape{500, 16};
  for (double scale : {0.3, 1.0})
    check_inverse(evenly_spaced(shape), random_parameters(shape, 5, false, scale),
                  in_double   ? 1e-9
                  : scale < 1 ? 1e-4
                              : 1e-3);
}

// Where it is as flat as it may be, x has fewer digits than z.
TEST(SplineInverse, IsUndoneByTheSpline) {
  const Shape shape{500, 16};
  for (double scale : {1.0, 3.0, 50.0}) {
    const Parameters p = random_parameters(shape, 5, false, scale);
    const Tensor z = evenly_spaced(shape);
    const Tensor x = rational_quadratic_spline_inverse(z, p.widths, p.heights, p.derivatives);
    const auto [value, log_derivative] = spline(x, p);
    for (Index i = 0; i < z.size(); ++i) {
      const double slope = std::exp(log_derivative.value()[i]);
      ASSERT_NEAR(value.value()[i], z[i], 100 * Limits::epsilon() * (1 + slope)) << scale;
    }
  }
}

TEST(SplineInverse, KeepsTheEndsAndWhatIsBeyond) {
  const Parameters p = random_parameters({1}, 5, true, 3);
  const Tensor z({7}, {-10, 10, -inf, inf, Real(-1e30), 10.5, nan});
  const Tensor x = rational_quadratic_spline_inverse(z, p.widths, p.heights, p.derivatives);
  EXPECT_EQ(x[0], -10);
  EXPECT_NEAR(x[1], 10, 20 * Limits::epsilon());
  for (Index i = 2; i < 6; ++i) EXPECT_EQ(x[i], z[i]);
  EXPECT_TRUE(std::isnan(x[6]));
}

// ---- Gradients ----------------------------------------------------------------------------------

TEST(Spline, GradientsAgreeWithDifferences) {
  for (const Case& c : all_cases()) {
    const Parameters p = random_parameters(c.shape, c.bins, c.shared, 0.7);
    const Function f = [](const std::vector<Var>& in) {
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
    const Function f = [output](const std::vector<Var>& in) {
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

// ---- Hard inputs
// ----------------------------------------------------------------------------------

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

TEST(Spline, IsTheIdentityWhereTheLeastSharesLeaveNoChoice) {
  SplineOptions options;
  options.least_width = options.least_height = 0.125;  // eight of them leave nothing to choose
  const Parameters p = random_parameters({1}, 8, true);
  const Tensor x = evenly_spaced({49});
  const auto [value, log_derivative] =
      spline(x, {p.widths, p.heights, Tensor::zeros({7})}, options);
  for (Index i = 0; i < x.size(); ++i) EXPECT_NEAR(value.value()[i], x[i], 30 * Limits::epsilon());
}

TEST(Spline, HasTheSameBitsOnAnyNumberOfThreads) {
  const int before = threads();
  for (bool shared : {false, true}) {
    const Shape shape{300, 150};
    const Tensor x = Random(3).normal(shape) * 5;
    const Parameters p = random_parameters(shape, 5, shared);
    set_threads(1);
    const Result alone = run(x, p);
    for (int count : {2, 3}) {
      set_threads(count);
      const Result r = run(x, p);
      EXPECT_EQ(r.value.values(), alone.value.values());
      EXPECT_EQ(r.log_derivative.values(), alone.log_derivative.values());
      for (int i = 0; i < 4; ++i)
        EXPECT_EQ(r.gradients[i].values(), alone.gradients[i].values()) << "input " << i;
    }
  }
  set_threads(before);
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

// ---- Errors
// ---------------------------------------------------------------------------------------

TEST(Spline, WrongShapesAreNamed) {
  const auto error = [](const Shape& x, const Shape& w, const Shape& h, const Shape& d) {
    return message_of([&] {
      spline(Tensor::zeros(x), {Tensor::zeros(w), Tensor::zeros(h), Tensor::zeros(d)});
    });
  };
  EXPECT_EQ(
      error({4, 2, 3}, {1, 3, 2, 5}, {1, 3, 2, 5}, {1, 3, 2, 4}),
      "[rational_quadratic_spline] for x of (4, 2, 3) the widths, heights and derivatives must "
      "be (1, ..., K), (1, ..., K) and (1, ..., K - 1), or (K), (K) and (K - 1); they are "
      "(1, 3, 2, 5), (1, 3, 2, 5), (1, 3, 2, 4)");
  const std::string start = "[rational_quadratic_spline] for x of ";
  EXPECT_EQ(error({4, 2}, {1, 2, 5}, {1, 2, 4}, {1, 2, 4}).rfind(start, 0), 0u);
  EXPECT_EQ(error({4, 2}, {1, 2, 5}, {1, 2, 5}, {1, 2, 5}).rfind(start, 0), 0u);
  EXPECT_EQ(error({4, 2}, {4, 2, 5}, {4, 2, 5}, {4, 2, 4}).rfind(start, 0), 0u);
  EXPECT_EQ(error({4, 2}, {5}, {1, 2, 5}, {4}).rfind(start, 0), 0u);
  EXPECT_EQ(error({4, 2}, {0}, {0}, {0}).rfind(start, 0), 0u);
  EXPECT_EQ(error({4, 2}, {}, {}, {}).rfind(start, 0), 0u);
  EXPECT_EQ(error({}, {5}, {5}, {4}).rfind(start, 0), 0u);
  EXPECT_EQ(message_of([] {
              rational_quadratic_spline_inverse(Tensor::zeros({4, 2}), Tensor::zeros({5}),
                                                Tensor::zeros({5}), Tensor::zeros({5}));
            }).rfind("[rational_quadratic_spline_inverse] for x of (4, 2)", 0),
            0u);
}

TEST(Spline, OptionsThatLeaveNoRoomAreNamed) {
  const Parameters p = random_parameters({1}, 5, true);
  const auto error = [&](const SplineOptions& options) {
    return message_of([&] { spline(Tensor::zeros({2}), p, options); });
  };
  EXPECT_EQ(error({10, 0.25, 1e-3, 1e-3}),
            "[rational_quadratic_spline] no spline of 5 bins has bound 10, least width 0.25, least "
            "height 0.001, least derivative 0.001");
  for (const SplineOptions& options :
       {SplineOptions{0}, SplineOptions{-1}, SplineOptions{double{inf}}, SplineOptions{double{nan}},
        SplineOptions{10, 0}, SplineOptions{10, 1e-3, 0.3}, SplineOptions{10, 1e-3, 1e-3, 0},
        SplineOptions{10, 1e-3, 1e-3, 1}})
    EXPECT_NE(error(options), "nothing was thrown");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

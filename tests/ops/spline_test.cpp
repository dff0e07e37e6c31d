// The spline and its inverse, against the formula written out for one element in double.
#include "backflow/tests/ops/spline_reference.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using namespace spline_reference;

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

TEST(Spline, IsTheIdentityWhereTheLeastSharesLeaveNoChoice) {
  SplineOptions options;
  options.least_width = options.least_height = 0.125;  // eight of them leave nothing to choose
  const Parameters p = random_parameters({1}, 8, true);
  const Tensor x = evenly_spaced({49});
  const auto [value, log_derivative] =
      spline(x, {p.widths, p.heights, Tensor::zeros({7})}, options);
  for (Index i = 0; i < x.size(); ++i) EXPECT_NEAR(value.value()[i], x[i], 30 * Limits::epsilon());
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

// ---- Errors -----------------------------------------------------------------------------------

TEST(Spline, WrongShapesAreNamed) {
  const auto error = [](const Shape& x, const Shape& w, const Shape& h, const Shape& d) {
    return message_of([&] {
      spline(Tensor::zeros(x), {Tensor::zeros(w), Tensor::zeros(h), Tensor::zeros(d)});
    });
  };
  EXPECT_EQ(
      error({4, 2, 3}, {1, 3, 2, 5}, {1, 3, 2, 5}, {1, 3, 2, 4}),
      "[rational_quadratic_spline] for x of (4, 2, 3) the widths, heights and derivatives must "
      "be (..., K), (..., K) and (..., K - 1) with x's sizes, or 1 in place of the first; or (K), "
      "(K) and (K - 1); they are (1, 3, 2, 5), (1, 3, 2, 5), (1, 3, 2, 4)");
  const std::string start = "[rational_quadratic_spline] for x of ";
  EXPECT_EQ(error({4, 2}, {1, 2, 5}, {1, 2, 4}, {1, 2, 4}).rfind(start, 0), 0u);
  EXPECT_EQ(error({4, 2}, {1, 2, 5}, {1, 2, 5}, {1, 2, 5}).rfind(start, 0), 0u);
  EXPECT_EQ(error({4, 2}, {3, 2, 5}, {3, 2, 5}, {3, 2, 4}).rfind(start, 0), 0u);
  EXPECT_EQ(error({4, 2}, {4, 2, 5}, {4, 2, 5}, {1, 2, 4}).rfind(start, 0), 0u);
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
       {SplineOptions{0}, SplineOptions{-1}, SplineOptions{double{inf}},
        SplineOptions{double{std::numeric_limits<Real>::max()}}, SplineOptions{double{nan}},
        SplineOptions{10, 0}, SplineOptions{10, 1e-3, 0.3}, SplineOptions{10, 1e-3, 1e-3, 0},
        SplineOptions{10, 1e-3, 1e-3, 1}})
    EXPECT_NE(error(options), "nothing was thrown");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

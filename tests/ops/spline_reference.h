// The spline's formula, written out for one element in double, and points to compare at.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "backflow/ops/gradcheck.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/spline.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace spline_reference {

using Limits = std::numeric_limits<Real>;
inline constexpr Real nan = Limits::quiet_NaN(), inf = Limits::infinity();
inline constexpr bool in_double = sizeof(Real) == sizeof(double);

struct Parameters {
  Tensor widths, heights, derivatives;
};

// For examples of the shape of x's; shared by all elements, or one set for each.
inline Parameters random_parameters(const Shape& x, Index bins, bool shared, double scale = 1) {
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

inline std::array<Var, 2> spline(const Var& x, const Parameters& p,
                                 const SplineOptions& options = {}) {
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

inline void expect_near(Real value, Real log_derivative, const Reference& reference, double x) {
  const auto [expected, expected_log] = reference(x);
  const auto [tolerance, tolerance_log] = reference.rounding(x);
  EXPECT_NEAR(value, expected, tolerance) << "the value at " << x;
  EXPECT_NEAR(log_derivative, expected_log, tolerance_log) << "the log-derivative at " << x;
}

// The spline that element i of x goes through.
inline Reference reference_at(const Parameters& p, Index i) {
  const Index splines = p.widths.size() / p.widths.size(-1);
  return {p, i % splines};
}

// Points in all bins and beyond both bounds, none near a knot: there the spline has no second
// derivative, and differences of the first are wrong.
inline Tensor points_between_knots(const Shape& shape, const Parameters& p) {
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
inline Tensor evenly_spaced(const Shape& shape) {
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

inline std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (bool shared : {false, true})
    for (const Shape& shape :
         {Shape{3, 2, 3, 3}, Shape{1, 7}, Shape{5, 1}, Shape{9}, Shape{2, 3, 67}})
      for (Index bins : {1, 2, 5, 8}) all.push_back({shape, bins, shared});
  return all;
}

inline std::string named(const Case& c) {
  std::ostringstream out;
  out << c.shape << ", " << c.bins << (c.shared ? " shared bins" : " bins");
  return out.str();
}

template <class F>
inline std::string message_of(F f) {
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

inline Result run(const Tensor& x, const Parameters& p, const SplineOptions& options = {}) {
  const std::vector<Var> in = {Var::leaf(x), Var::leaf(p.widths), Var::leaf(p.heights),
                               Var::leaf(p.derivatives)};
  const auto [value, log_derivative] =
      rational_quadratic_spline(in[0], in[1], in[2], in[3], options);
  const Gradients g = backward(sum(value * Random(5).normal(x.shape())) +
                               sum(log_derivative * Random(6).normal(x.shape())));
  return {value.value(), log_derivative.value(), {g[in[0]], g[in[1]], g[in[2]], g[in[3]]}};
}

}  // namespace spline_reference
}  // namespace backflow::inline BACKFLOW_PRECISION

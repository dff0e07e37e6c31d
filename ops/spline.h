// Monotone rational-quadratic splines (Durkan et al., "Neural Spline Flows", NeurIPS 2019): an
// increasing function of K bins on [-bound, bound], the identity outside, invertible in closed
// form.
//
// With s = height / width of the bin, d its slopes at its left and right knot (d0, d1) and
// t = (x - x_k) / width, the place in it:
//
//   denominator    = s + (d0 + d1 - 2 s) t (1 - t)
//   value          = y_k + height (s t^2 + d0 t (1 - t)) / denominator
//   log-derivative = log(s^2 (d1 t^2 + 2 s t (1 - t) + d0 (1 - t)^2)) - 2 log(denominator)
//
// The knots follow from unconstrained parameters: widths and heights are softmaxes stretched to
// the interval, no smaller than their share allows, and the slopes of the inner knots are
//
//   width = 2 bound (least_width + (1 - K least_width) softmax(unconstrained))
//   slope = least_derivative + softplus(unconstrained + log(e^(1 - least_derivative) - 1))
//
// so that zeros are the identity. The slopes at -bound and bound are 1.
#pragma once

#include <memory>

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct SplineOptions {
  double bound = 10;
  double least_width = 1e-3, least_height = 1e-3;  // of a bin, as a share of the interval
  double least_derivative = 1e-3;
};

// {value, log-derivative in nats}, both of x's shape: one node, one backward. x is (B, ...); widths
// and heights are (..., K) and derivatives (..., K - 1), where ... is
//
//   (B, ...)   one spline for each element of each example, such as a network computes
//   (1, ...)   one for each element of an example
//   nothing    one for all
//
// NaN stays NaN in both outputs. Fails for other shapes and for options that leave no room for K
// bins, or less than Real can resolve.
std::array<Var, 2> rational_quadratic_spline(const Var& x, const Var& widths, const Var& heights,
                                             const Var& derivatives,
                                             const SplineOptions& options = {});

// What there is to compute of shared splines, of parameters (1, ..., K) or (K), before any x is
// seen: for several calls with the same parameters, from any threads.
class SplineTables;
std::shared_ptr<const SplineTables> prepared_splines(const Tensor& widths, const Tensor& heights,
                                                     const Tensor& derivatives,
                                                     const SplineOptions& options = {});
// The same with what was prepared of these parameters.
std::array<Var, 2> rational_quadratic_spline(const Var& x, const Var& widths, const Var& heights,
                                             const Var& derivatives,
                                             const std::shared_ptr<const SplineTables>& prepared);

// One spline for each element of each example, with the numbers of each in one row: parameters
// (B, ..., 3 K - 1), K widths, K heights and K - 1 derivatives.
std::array<Var, 2> rational_quadratic_spline(const Var& x, const Var& parameters,
                                             const SplineOptions& options = {});

// The x of each value y.
Tensor rational_quadratic_spline_inverse(const Tensor& y, const Tensor& widths,
                                         const Tensor& heights, const Tensor& derivatives,
                                         const SplineOptions& options = {});
Tensor rational_quadratic_spline_inverse(const Tensor& y, const Tensor& widths,
                                         const Tensor& heights, const Tensor& derivatives,
                                         const std::shared_ptr<const SplineTables>& prepared);
Tensor rational_quadratic_spline_inverse(const Tensor& y, const Tensor& parameters,
                                         const SplineOptions& options = {});

}  // namespace backflow::inline BACKFLOW_PRECISION

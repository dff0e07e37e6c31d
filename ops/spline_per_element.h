// Splines whose parameters belong to one element alone, as a network computes them. Internal to the
// spline: no header includes this.
//
// A table of such a spline would serve a single x. So there is none: a block of elements fills the
// vector lanes, and the walk over its knots is the walk that finds their bins.
#pragma once

#include "backflow/ops/spline.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Whether the parameters are (B, ..., K), (B, ..., K) and (B, ..., K - 1) for x (B, ...) with more
// than one example: with one, this layout is that of a spline for each element of an example.
bool are_per_element(const Shape& x, const Shape& widths, const Shape& heights,
                     const Shape& derivatives);

// rational_quadratic_spline() and its inverse for these.
std::array<Var, 2> spline_per_element(const Var& x, const Var& widths, const Var& heights,
                                      const Var& derivatives, const SplineOptions& options);
Tensor spline_per_element_inverse(const Tensor& y, const Tensor& widths, const Tensor& heights,
                                  const Tensor& derivatives, const SplineOptions& options);

}  // namespace backflow::inline BACKFLOW_PRECISION

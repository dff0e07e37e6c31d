#include "backflow/flows/transforms/spline.h"

namespace backflow::inline BACKFLOW_PRECISION {

RationalQuadraticSpline::RationalQuadraticSpline(Index bins, const SplineOptions& options)
    : bins_(bins), options_(options) {
  if (bins < 1) fail("rational_quadratic_spline", "at least one bin expected, got ", bins);
  inverse(Tensor::empty({0, 1}), Tensor::empty({0, 1, parameters()}));  // checks the options
}

std::array<Var, 2> RationalQuadraticSpline::forward(const Var& x, const Var& p) const {
  check_parameters("rational_quadratic_spline", *this, x.shape(), p.shape());
  return rational_quadratic_spline(x, p, options_);
}

Tensor RationalQuadraticSpline::inverse(const Tensor& z, const Tensor& p) const {
  check_parameters("rational_quadratic_spline", *this, z.shape(), p.shape());
  return rational_quadratic_spline_inverse(z, p, options_);
}

Tensor RationalQuadraticSpline::initial(const Random&) const {
  return Tensor::zeros({parameters()});
}

}  // namespace backflow::inline BACKFLOW_PRECISION

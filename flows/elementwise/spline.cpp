#include "backflow/flows/elementwise/spline.h"

#include "backflow/ops/reduce.h"

namespace backflow::inline BACKFLOW_PRECISION {

SplineActivation::SplineActivation(Tensor widths, Tensor heights, Tensor derivatives,
                                   SplineOptions options)
    : widths_(add_parameter("unnormalized_widths", std::move(widths))),
      heights_(add_parameter("unnormalized_heights", std::move(heights))),
      derivatives_(add_parameter("unnormalized_derivatives", std::move(derivatives))),
      options_(options) {
  Shape knots = widths_.shape();
  if (knots.rank() > 0) --knots[-1];
  if (knots.rank() == 0 || !(heights_.shape() == widths_.shape()) ||
      !(derivatives_.shape() == knots))
    fail("spline_activation", "expected widths (..., K), heights (..., K), derivatives ",
         "(..., K - 1); they are ", widths_.shape(), ", ", heights_.shape(), ", ",
         derivatives_.shape());
}

// The knots depend on the parameters alone: they are computed when those have changed, and shared
// by all who walk.
std::shared_ptr<const SplineTables> SplineActivation::prepared() const {
  const std::array versions{widths_.version(), heights_.version(), derivatives_.version()};
  const std::lock_guard lock(cache_);
  if (!prepared_ || versions_ != versions) {
    prepared_ = prepared_splines(widths_.value(), heights_.value(), derivatives_.value(), options_);
    versions_ = versions;
  }
  return prepared_;
}

void SplineActivation::prepare(Mode, bool) const { prepared(); }

double SplineActivation::prepare_flop(Mode) const {
  constexpr double per_number = 100;  // an exponential, mostly
  return per_number * 3 * static_cast<double>(widths_.shape().size());
}

Out SplineActivation::forward(const Var& x, Pass&) const {
  const auto [z, log_derivative] =
      rational_quadratic_spline(x, widths_, heights_, derivatives_, prepared());
  return {z, sum_examples(log_derivative)};
}

Tensor SplineActivation::inverse(const Tensor& z, Pass&) const {
  return rational_quadratic_spline_inverse(z, widths_.value(), heights_.value(),
                                           derivatives_.value(), prepared());
}

}  // namespace backflow::inline BACKFLOW_PRECISION

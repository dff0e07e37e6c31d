#include "backflow/flows/elementwise/diagonal.h"

#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

Diagonal::Diagonal(Index D) : log_scale_(add_parameter("log_scale", Tensor::zeros({D}))) {}

Out Diagonal::scaled(const Var& x, const Var& log_scale, const Pass& pass) const {
  if (x.rank() != 2 || x.size(1) != log_scale.size(0))
    fail("diagonal", "a batch (B, ", log_scale.size(0), ") expected, the shape is ", x.shape());
  check_context("diagonal", 0, pass, x.size(0));
  return {x * exp(log_scale), broadcast_to(sum(log_scale), {x.size(0)})};
}

Out Diagonal::forward(const Var& x, Pass& pass) const { return scaled(x, log_scale_, pass); }

Out Diagonal::inverse_recorded(const Var& z, Pass& pass) const {
  return scaled(z, -log_scale_.var(), pass);
}

Tensor Diagonal::inverse(const Tensor& z, Pass& pass) const {
  const NoGrad no_grad;
  return scaled(z, -log_scale_.var(), pass).z.value();
}

}  // namespace backflow::inline BACKFLOW_PRECISION

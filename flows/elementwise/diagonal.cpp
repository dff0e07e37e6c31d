#include "backflow/flows/elementwise/diagonal.h"

#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

Diagonal::Diagonal(Index D) : log_scale_(add_parameter("log_scale", Tensor::zeros({D}))) {}

Out Diagonal::scaled(const Var& x, const Var& log_scale) const {
  if (x.rank() != 2 || x.size(1) != log_scale.size(0))
    fail("diagonal", "a batch (B, ", log_scale.size(0), ") expected, the shape is ", x.shape());
  return {x * exp(log_scale), broadcast_to(sum(log_scale), {x.size(0)})};
}

Out Diagonal::forward(const Var& x, Pass&) const { return scaled(x, log_scale_); }
Out Diagonal::inverse_recorded(const Var& z, Pass&) const { return scaled(z, -log_scale_.var()); }

Tensor Diagonal::inverse(const Tensor& z, Pass&) const {
  const NoGrad no_grad;
  return scaled(z, -log_scale_.var()).z.value();
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/flows/image/squeeze.h"

#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

static Tensor no_logdet(const Var& x) { return Tensor::zeros({x.size(0)}); }

Out Squeeze::forward(const Var& x, Pass&) const { return {space_to_depth(x), no_logdet(x)}; }
Tensor Squeeze::inverse(const Tensor& z, Pass&) const { return depth_to_space(z); }

Out Unsqueeze::forward(const Var& x, Pass&) const { return {depth_to_space(x), no_logdet(x)}; }
Tensor Unsqueeze::inverse(const Tensor& z, Pass&) const { return space_to_depth(z); }

}  // namespace backflow::inline BACKFLOW_PRECISION

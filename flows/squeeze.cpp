#include "flows/squeeze.h"

#include "ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

Var space_to_depth(const Var& x) {
  if (x.rank() != 4 || x.size(2) % 2 != 0 || x.size(3) % 2 != 0)
    fail("squeeze", "images of even height and width expected, the shape is ", x.shape());
  const Index B = x.size(0), C = x.size(1), H = x.size(2) / 2, W = x.size(3) / 2;
  const Var blocks = permute(reshape(x, Shape{B, C, H, 2, W, 2}), {0, 1, 3, 5, 2, 4});
  return reshape(blocks, Shape{B, 4 * C, H, W});
}

Var depth_to_space(const Var& x) {
  if (x.rank() != 4 || x.size(1) % 4 != 0)
    fail("squeeze", "channels in fours expected, the shape is ", x.shape());
  const Index B = x.size(0), C = x.size(1) / 4, H = x.size(2), W = x.size(3);
  const Var blocks = permute(reshape(x, Shape{B, C, 2, 2, H, W}), {0, 1, 4, 2, 5, 3});
  return reshape(blocks, Shape{B, C, 2 * H, 2 * W});
}

static Tensor no_logdet(const Var& x) { return Tensor::zeros({x.size(0)}); }

Out Squeeze::forward(const Var& x, Pass&) const { return {space_to_depth(x), no_logdet(x)}; }
Tensor Squeeze::inverse(const Tensor& z, Pass&) const { return depth_to_space(z).value(); }

Out Unsqueeze::forward(const Var& x, Pass&) const { return {depth_to_space(x), no_logdet(x)}; }
Tensor Unsqueeze::inverse(const Tensor& z, Pass&) const { return space_to_depth(z).value(); }

}  // namespace backflow::inline BACKFLOW_PRECISION

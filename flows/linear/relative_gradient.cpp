#include "backflow/flows/linear/linear.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"

namespace backflow::inline BACKFLOW_PRECISION {

RelativeGradient::RelativeGradient(Tensor W, Tensor b) : Linear(std::move(W), std::move(b)) {
  if (W_.shape().rank() != 2)
    fail("relative_gradient", "W must be a square matrix, its shape is ", W_.shape());
}

// With z = W x, before the bias is added, the gradient of W times W^T W is
//
//   (d_z x^T + W^-T) W^T W = d_z (z^T W) + W.
//
// Bracketed like this no product is larger than B x D x D, and no inverse is left.
Out RelativeGradient::forward(const Var& input, Pass& pass) const {
  if (pass.mode == Mode::exact) return exact_forward(input, Mode::exact);
  const Var x = reshape_examples(input);
  const Tensor W = W_.value(), Z = matmul(x.value(), transposed(W));
  auto [z, logdet] = override_gradient(
      "relative_gradient", {Z, Tensor::zeros({x.size(0)})}, {x, W_},
      [=](const Tensor& gz, const Tensor& gl) {
        return grads(matmul(gz, W), matmul(transposed(gz), matmul(Z, W)) + sum(gl) * W);
      });
  return {z + bias(), logdet};
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "flows/linear.h"
#include "ops/matmul.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"

namespace backflow::inline BACKFLOW_PRECISION {

// (d_z x^T + W^-T) W^T W = d_z (z^T W) + W: bracketed like this no product is larger than
// B x D x D, and no inverse is left. z is without bias.
Out RelativeGradient::forward(const Var& input, Pass& pass) const {
  const Var x = flattened(input);
  if (pass.mode == Mode::exact) return exact_forward(x);
  const Tensor W = W_.value(), Z = matmul(x.value(), transposed(W));
  auto [z, logdet] = override_gradient(
      "relative_gradient", {Z, Tensor::zeros({x.size(0)})}, {x, W_},
      [=](const Tensor& gz, const Tensor& gl) {
        return grads(matmul(gz, W), matmul(transposed(gz), matmul(Z, W)) + sum(gl) * W);
      });
  return {z + b_, logdet};
}

}  // namespace backflow::inline BACKFLOW_PRECISION

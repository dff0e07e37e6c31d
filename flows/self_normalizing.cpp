#include "flows/self_normalizing.h"

#include "ops/matmul.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

SelfNormalizing::SelfNormalizing(Tensor W, Tensor R, Tensor b, ReconstructionOptions options)
    : Linear(std::move(W), std::move(b)),
      R_(add_parameter("weight_inv", std::move(R))),
      options_(options) {
  if (!(R_.shape() == W_.shape()))
    fail("self_normalizing", "W is ", W_.shape(), ", R is ", R_.shape());
}

// Examples are rows, so W x is written X W^T and d_z x^T is written gz^T X.
//
// Cost: six products of 2 B D^2 flop, the least there is. Terms that meet the same matrix are
// added before the product, not after.
Out SelfNormalizing::forward(const Var& input, Pass& pass) const {
  const Var x = flattened(input);
  if (pass.mode == Mode::exact) return exact_forward(x);

  const Tensor X = x.value(), W = W_.value(), R = R_.value();
  const Real B = static_cast<Real>(x.size(0));
  const Tensor Z = matmul(X, transposed(W));
  const Tensor RZ = matmul(Z, transposed(R)), error = RZ - X;
  Tensor reconstruction = sum(error * error) / B;
  Tensor error_z;  // of the way z -> R z -> W R z
  if (options_.symmetric) {
    error_z = matmul(RZ, transposed(W)) - Z;
    reconstruction = 0.5 * (reconstruction + sum(error_z * error_z) / B);
  }

  auto [z, logdet, loss] = override_gradient(
      "self_normalizing", {Z, Tensor::zeros({x.size(0)}), reconstruction}, {x, W_, R_},
      [=, only_R = options_.only_R](const Tensor& gz, const Tensor& gl, const Tensor& gr) {
        const Tensor gx = matmul(gz, W);  // W^T d_z
        const Tensor half = 0.5 * sum(gl);
        Tensor gW = half * transpose(R);   // of log|det W|: R^T stands in for W^-T
        Tensor gR = -half * transpose(W);  // of -log|det R|: -W^T for -R^-T
        Tensor gW_x = 0.5 * gz;            // of p_Z(W x), before the product with x
        Tensor gR_z = -0.5 * gx;           // of p_Z(R^-1 x): -(W^T d_z) z^T

        Tensor ge = (2 * gr / B) * error;  // of |R W x - x|^2, the same way
        if (error_z.defined()) {           // and of |W R z - z|^2, its last z held fixed
          const Tensor gf = (gr / B) * error_z;
          ge = 0.5 * ge + matmul(gf, W);
          if (!only_R) matmul_into(gW, 1, transposed(gf), RZ);
        }
        gR_z = gR_z + ge;
        if (!only_R) gW_x = gW_x + matmul(ge, R);

        matmul_into(gW, 1, transposed(gW_x), X);
        matmul_into(gR, 1, transposed(gR_z), Z);
        return grads(gx, gW, gR);
      });
  pass.losses.push_back({loss, options_.weight});
  return {z + b_, logdet};
}

Tensor SelfNormalizing::inverse(const Tensor& z, Pass& pass) const {
  if (pass.inverse == Inverse::exact) return Linear::inverse(z, pass);
  return matmul(flattened(z).value() - b_.value(), transposed(R_.value()));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

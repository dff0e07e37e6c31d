#include "backflow/flows/linear/self_normalizing.h"

#include <cmath>

#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

SelfNormalizing::SelfNormalizing(Tensor W, Tensor R, Tensor b, ReconstructionOptions options)
    : Linear(std::move(W), std::move(b)),
      R_(add_parameter("weight_inv", std::move(R))),
      options_(options) {
  if (!(R_.shape() == W_.shape()))
    fail("self_normalizing", "W is ", W_.shape(), ", R is ", R_.shape());
  if (options_.geco_rate == 0) return;
  Tensor& weight = add_buffer("recon_loss_weight", Tensor(static_cast<Real>(options_.weight)));
  Tensor& average = add_buffer("recon_loss_ema", Tensor(Real(-1)));
  geco_ = std::make_shared<Geco>(Geco{weight, average, options_.geco_rate, options_.geco_decay});
}

// a + factor b, in one pass.
static Tensor plus_multiple(const Tensor& a, Real factor, const Tensor& b) {
  return pointwise("self_normalizing", a, b, [factor](Real a, Real b) { return a + factor * b; });
}

// What training maximises is the mean of two log-likelihoods of x, with z = W x in both:
//
//   1/2 (log p_Z(W x) + log|det W|) + 1/2 (log p_Z(R^-1 x) - log|det R|)
//
// In the terms of the table in self_normalizing.h: apply(W, x) is W x, apply_transposed(W, g) is
// W^T g, and add_weight_gradient(., g, x) adds g x^T.
//
// How a constant 0 has a gradient: override_gradient() takes a value and a rule, and nobody asks
// whether they belong together. The log-determinant's value would cost O(D^3), so it is given as 0;
// the rule answers its gradient gl as the true value would, by the table: 1/2 R^T for W and -1/2
// W^T for R. All examples have the same log-determinant, hence the sum of gl.
//
// Why gW and gR have a half and gx has none: W is in one of the two models, R in the other, but x
// is in both. One half of gx is W^T d_z; the other is R^-T d_z, where W^T stands in for R^-T.
//
// Cost: six products of 2 B D^2 flop, the least there is (or as many convolutions). Terms that
// meet the same weights are added before the product, not after.
Out SelfNormalizing::forward(const Var& input, Pass& pass) const {
  if (pass.mode == Mode::exact) return exact_forward(input, Mode::exact);

  const Var x = reshape_examples(input);
  const Tensor X = x.value(), W = W_.value(), R = R_.value();
  const Real B = static_cast<Real>(x.size(0));
  const Tensor Z = map_.apply(W, X);
  const Tensor RZ = map_.apply(R, Z);
  const auto [error, squares] = difference_and_squares(RZ, X);
  Tensor reconstruction = squares / B;
  Tensor error_z;  // W R z - z
  if (options_.symmetric) {
    const auto [of_z, squares_of_z] = difference_and_squares(map_.apply(W, RZ), Z);
    error_z = of_z;
    reconstruction = 0.5 * (reconstruction + squares_of_z / B);
  }

  // The rule may hold map_ by reference: LinearMaps are never destroyed.
  auto [z, logdet, loss] = override_gradient(
      "self_normalizing", {Z, Tensor::zeros({x.size(0)}), reconstruction}, {x, W_, R_},
      [=, &map = map_, error = error, only_R = options_.only_R](const Tensor& gz, const Tensor& gl,
                                                                const Tensor& gr) {
        const Tensor gx = map.apply_transposed(W, gz);  // W^T d_z
        const Real half = (0.5 * sum(gl)).item();
        // The reconstruction loss adds ge z^T to gR and R^T ge x^T to gW, where ge is the gradient
        // of the R z in it. In |W R z - z|^2 the z that is subtracted counts as a constant.
        Tensor ge = (2 * gr / B) * error;
        Tensor gf;
        if (error_z.defined()) {
          gf = (gr / B) * error_z;
          ge = plus_multiple(map.apply_transposed(W, gf), 0.5, ge);
        }
        // What meets x^T: d_z from log p_Z(W x). And z^T: -(W^T d_z) from log p_Z(R^-1 x).
        const Tensor gW_x = only_R ? 0.5 * gz : plus_multiple(map.apply_transposed(R, ge), 0.5, gz);
        const Tensor gR_z = plus_multiple(ge, -0.5, gx);
        // R^T stands in for W^-T, and -W^T for -R^-T.
        const bool twice = gf.defined() && !only_R;
        Tensor gW =
            twice ? map.weight_gradient(half, R, gf, RZ) : map.weight_gradient(half, R, gW_x, X);
        if (twice) map.add_weight_gradient(gW, gW_x, X);
        const Tensor gR = map.weight_gradient(-half, W, gR_z, Z);
        return grads(gx, gW, gR);
      });
  pass.losses.push_back(reconstruction_loss(loss));
  return {z + bias(), logdet};
}

AuxiliaryLoss SelfNormalizing::reconstruction_loss(const Var& loss) const {
  if (!geco_) return {loss, options_.weight};
  return {loss, geco_->weight.item(), [watched = std::weak_ptr<Geco>(geco_)](double value) {
            if (const auto geco = watched.lock()) geco->adapt(value);
          }};
}

void SelfNormalizing::Geco::adapt(double loss) {
  const double before = average.item();
  const double now = before < 0 ? loss : decay * before + (1 - decay) * loss;
  average = Tensor(static_cast<Real>(now));
  weight = Tensor(static_cast<Real>(weight.item() * std::exp(rate * now)));
}

Tensor SelfNormalizing::inverse(const Tensor& z, Pass& pass) const {
  if (pass.inverse == Inverse::exact) return Linear::inverse(z, pass);
  return map_.apply(R_.value(), reshape_examples(z).value() - bias().value());
}

}  // namespace backflow::inline BACKFLOW_PRECISION

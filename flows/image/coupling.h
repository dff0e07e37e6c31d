// Affine coupling (Dinh et al., "Density estimation using Real NVP", ICLR 2017): the first half of
// the channels decides, through any network, how the second half is scaled and shifted. And the
// split prior that Glow puts between its blocks, which couples before it lets half the channels go.
#pragma once

#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

// conv 3x3 -> ReLU -> conv 1x1 -> ReLU -> conv 3x3, times exp(3 logs); from half the channels to
// all of them. The last convolution begins as 0, the others uniform within 1 / sqrt(fan-in).
class CouplingNet : public Module {
 public:
  CouplingNet(Index channels, Index width, const Random& random);
  Var operator()(const Var& x) const;

 private:
  Parameter &weight0_, &bias0_, &weight2_, &bias2_, &weight4_, &bias4_, &logs_;
};

// With h = net(x1) the even channels of h give log s = 2 tanh(h / 2), the odd ones t:
//   z1 = x1,  z2 = s x2 + t,  logdet = sum log s.
// Fails for an odd number of channels.
class ImageCoupling : public Flow {
 public:
  ImageCoupling(Index channels, Index width, const Random& random);
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;

 private:
  Var scale_and_shift(const Var& x) const;

  Index channels_;
  CouplingNet net_;
};

// (B, C, H, W) -> (B, C / 2, H, W): after a coupling the second half of the channels is held to be
// standard normal, its log-likelihood joins the logdet, and it leaves (pass.factored_out). Going
// back it is popped from there, or drawn from pass.latents.
class SplitPrior : public Flow {
 public:
  SplitPrior(Index channels, Index width, const Random& random);
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;

 private:
  ImageCoupling transform_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

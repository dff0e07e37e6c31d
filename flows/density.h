// A density: a flow in front of a base distribution.
#pragma once

#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

// N(0, I): log p(z) = -1/2 |z|^2 - D/2 log(2 pi), per example, in nats.
class StandardNormal {
 public:
  Var log_prob(const Var& z) const;  // (B)
};

class Density {
 public:
  // The flow is borrowed. `latent` is the shape of one example's z.
  Density(const Flow& flow, Shape latent) : flow_(flow), latent_(latent) {}

  // log p(x) in nats, (B): exact. `pass` gives the noise of the dequantization; its mode does not
  // matter.
  Tensor log_prob(const Tensor& x, Pass pass = {}) const;

  // What training maximises, (B). It equals log_prob where every layer is exact; otherwise it lacks
  // log-determinants, though it has their gradients, and is no likelihood. Layers add to
  // pass.losses.
  Var objective(const Var& x, Pass& pass) const;

  // n examples: the flow's inverse of temperature * N(0, I). What split priors factored out is
  // drawn likewise.
  Tensor sample(Index n, const Random& random, double temperature = 1, Pass pass = {}) const;

 private:
  const Flow& flow_;
  Shape latent_;
  StandardNormal base_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

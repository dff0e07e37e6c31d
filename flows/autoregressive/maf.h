// Masked autoregressive flow (Papamakarios, Pavlakou & Murray, "Masked Autoregressive Flow for
// Density Estimation", NeurIPS 2017): layers of
//
//   z_i = (x_i - mu_i) e^-alpha_i,   logdet = -sum_i alpha_i,
//   (mu_i, alpha_i) = MADE(x_1, ..., x_i-1)
//
// Fast is the density, one evaluation of each network. A sample needs one as well, but coordinate
// after coordinate; its gradients, D of them.
//
// What the authors do differently: batch normalization between the layers, not ActNorm, and alpha
// unbounded; 5 or 10 layers of one or two hidden layers with 100 to 1024 units each.
#pragma once

#include "backflow/flows/conditioners/mlp.h"
#include "backflow/flows/transforms/affine.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct MafOptions {
  int layers = 8;
  Net net = {};  // with a context: a flow of p(x | context)
  // |alpha| stays below the cap: no e^-alpha overflows while the networks learn.
  AffineOptions affine = {.scale = ScaleForm::capped, .cap = 3, .divides = true};
};

// On (B, D), any D >= 1; it begins as the identity. An ActNorm stands before each layer, and behind
// the last. Every second layer takes the coordinates in descending order.
std::unique_ptr<Flow> maf(Index D, const MafOptions& options, const Random& random);

}  // namespace backflow::inline BACKFLOW_PRECISION

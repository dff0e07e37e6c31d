// Real NVP (Dinh, Sohl-Dickstein & Bengio, "Density estimation using Real NVP", ICLR 2017): layers
// of
//
//   z1 = x1,   z2 = x2 e^s + t,   logdet = sum_i s_i,   (s, t) = net(x1),
//
// whose halves change roles. Both directions take one evaluation of each network.
//
// What the authors do differently: s = scale * tanh(net) with a learned scale
// (ScaleForm::learned_tanh), a network each for s and t, batch normalization between the layers;
// for images convolutions and several scales, as flows/image/coupling.h and Squeeze have them.
#pragma once

#include "backflow/flows/conditioners/mlp.h"
#include "backflow/flows/transforms/affine.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct RealNvpOptions {
  int layers = 8;
  Net net = {};  // with a context: a flow of p(x | context)
  // s stays within the cap: an unbounded one overflows.
  AffineOptions affine = {.scale = ScaleForm::capped, .cap = 2};
};

// On (B, D), D >= 2; fails for D = 1, which cannot be split. It begins as the identity, but for the
// order of the coordinates. An ActNorm stands before each layer, and behind the last.
std::unique_ptr<Flow> real_nvp(Index D, const RealNvpOptions& options, const Random& random);

}  // namespace backflow::inline BACKFLOW_PRECISION

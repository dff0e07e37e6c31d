// Flow++ (Ho, Chen, Srinivas, Duan & Abbeel, "Flow++: Improving Flow-Based Generative Models with
// Variational Dequantization and Architecture Design", ICML 2019): layers of
//
//   z1 = x1,   z2 = e^a logit(F(x2)) + b,   F the distribution function of a mixture of logistics,
//   (log-scales, means, logits of F, a, b) = net(x1),   logdet = sum_i log dz2_i/dx2_i
//
// whose halves change roles. Both directions take one evaluation of each network; z -> x also the
// root of a mixture for each element. Data of whole numbers become real ones by noise that is
// learned as well (flows/image/variational_dequantization.h).
//
// What the authors do differently: images, in couplings by channels and by a checkerboard; networks
// of gated convolutions and self-attention with dropout; 32 components. They bisect F(x) itself to
// 1e-12, here the root of the logit is found to rounding (ops/logistic_mixture.h).
#pragma once

#include "backflow/flows/conditioners/mlp.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct FlowppOptions {
  int layers = 4;
  Net net = {};  // with a context: a flow of p(x | context)
  Index components = 8;
  double cap = 2;  // |a| stays below it: an unbounded one overflows; infinity: none
};

// On (B, D), D >= 2; fails for D = 1, which cannot be split. It begins near the identity, but for
// the order of the coordinates. An ActNorm stands before each layer, and behind the last.
std::unique_ptr<Flow> flowpp(Index D, const FlowppOptions& options, const Random& random);

// The noise that is learned, of examples of D whole numbers 0, ..., levels - 1: these couplings,
// run on normal noise and given the example as their context, which options.net must leave at 0.
std::unique_ptr<Flow> flowpp_dequantization(Index D, Index levels, const FlowppOptions& options,
                                            const Random& random);

}  // namespace backflow::inline BACKFLOW_PRECISION

// NICE (Dinh, Krueger & Bengio, "NICE: Non-linear Independent Components Estimation", 2014): layers
// of
//
//   z1 = x1,   z2 = x2 + m(x1),   logdet = 0,
//
// whose halves change roles, and at last z = x e^s for each coordinate, logdet = sum s. Both
// directions take one evaluation of each network.
//
// What the authors do differently: 4 couplings, a logistic base (standard_logistic()), and no
// ActNorm; data are scaled beforehand.
#pragma once

#include "backflow/flows/conditioners/mlp.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct NiceOptions {
  int layers = 16;  // with fewer than 3, some coordinates do not reach all others
  Net net = {};     // with a context: a flow of p(x | context)
};

// On (B, D), D >= 2; fails for D = 1, which cannot be split. All stretches are the same for every
// x. An ActNorm stands before each coupling. The networks begin at random: for a symmetric base,
// the gradient of a last layer of zeros may be 0 by symmetry, and nothing would ever move.
std::unique_ptr<Flow> nice(Index D, const NiceOptions& options, const Random& random);

}  // namespace backflow::inline BACKFLOW_PRECISION

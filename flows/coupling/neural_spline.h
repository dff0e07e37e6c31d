// Neural spline flow with couplings (Durkan, Bekasov, Murray & Papamakarios, "Neural Spline Flows",
// NeurIPS 2019, "RQ-NSF (C)"): layers of
//
//   z1 = x1,   z2 = spline(x2; net(x1)),   logdet = sum_i log spline'(x2_i),
//
// whose halves change roles. The spline is monotone and rational-quadratic on [-bound, bound], the
// identity beyond, and inverted in closed form: both directions take one evaluation of each
// network. flows/autoregressive/neural_spline.h is the autoregressive one.
//
// What the authors do differently: linear layers with a learned LU factorization between, in place
// of ActNorm and reversal; residual networks, whose widths and heights they divide by the root of
// the number of hidden units; slopes that do not begin at 1. Bound 3 for tables, with data beyond
// it left as it is, which here an ActNorm brings within.
#pragma once

#include "backflow/flows/conditioners/mlp.h"
#include "backflow/ops/spline.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct NeuralSplineOptions {
  int layers = 4;
  Net net = {};  // with a context: a flow of p(x | context)
  Index bins = 8;
  SplineOptions spline = {.bound = 4};
};

// On (B, D), D >= 2; fails for D = 1, which cannot be split. It begins as the identity, but for the
// order of the coordinates. An ActNorm stands before each layer, and behind the last.
std::unique_ptr<Flow> neural_spline_coupling(Index D, const NeuralSplineOptions& options,
                                             const Random& random);

}  // namespace backflow::inline BACKFLOW_PRECISION

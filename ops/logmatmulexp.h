// Products of matrices that are given by the logarithms of their entries.
//
// The Jacobian of a network is a product of matrices, one per layer. Where all entries are positive
// their logarithms can be kept in place of them, and neither overflow nor underflow: Huang et al.,
// "Neural Autoregressive Flows", ICML 2018, call it the log-matrix product.
#pragma once

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

// y[b][d][o] = log sum_i e^(x[b][d][i] + w[d][o][i]), for x (B, D, I) and w (D, O, I) -> (B, D, O):
// for each d the product of B vectors with one matrix, a call of BLAS on numbers scaled by the
// largest of their line. Right also where those sums underflow. Like logsumexp it is -inf, with
// gradient 0, where all terms are -inf.
Var logmatmulexp(const Var& x, const Var& w);

}  // namespace backflow::inline BACKFLOW_PRECISION

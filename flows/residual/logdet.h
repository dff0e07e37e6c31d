// log det(I + J), J the Jacobian of a contractive net g at each example: of what x + g(x) does to
// volume. With all singular values of J below 1 it is the series
//
//   log det(I + J) = sum_k (-1)^(k+1) / k trace J^k,   trace J^k = E[v^T J^k v]
//
// for random v whose entries are independent, of mean 0 and variance 1 (Hutchinson). No J is
// needed for that, but products J v (LipschitzNet::jvp).
//
// i-ResNet cuts the series off, which is biased. Residual Flow breaks it off at random and divides
// term k by the probability that it is reached: the expectation is the whole series (Behrmann et
// al., "Invertible residual networks", ICML 2019; Chen et al., "Residual flows for invertible
// generative modeling", NeurIPS 2019).
#pragma once

#include <span>

#include "backflow/flows/residual/lipschitz_net.h"

namespace backflow::inline BACKFLOW_PRECISION {

// How long the series is: the first `terms` always, and term number terms + n with the probability
// (1 - stop)^(n-1). stop = 1: it is cut off after `terms`.
//
// The variance is finite where the spectral radius of J is below sqrt(1 - stop). Beyond it the mean
// is still right, but rare long series weigh much: then make stop smaller.
struct SeriesOptions {
  int terms = 2;
  double stop = 0.5;
};
void check_series(const SeriesOptions& options);  // fails for others than 0 < stop <= 1 and so on

// What is random: v, and the weights c_1, c_2, ... of the terms, 0 where the series was broken off.
// Each example has its own, so that the mean over a batch averages both, and batches may be cut
// anywhere. (The authors draw one length for a whole batch.)
struct Probe {
  Tensor v;               // (B, D), +1 and -1: of all v, those with the least variance
  std::vector<Tensor> c;  // each (B)
};

// From numbers u (B, D + 2), uniform on [0, 1).
Probe draw_probe(const Tensor& u, const SeriesOptions& options);

// The Jacobian at each example, transposed: (B, D, D), whose row k is J e_k.
Var transposed_jacobian(const LipschitzNet& net, const Linearized& at);

// Exact, by all D tangents and an LU for each example: O(B D^2 (widths + D)).
Var exact_logdet(const LipschitzNet& net, const Linearized& at);

// sum_k c_k (-1)^(k+1) / k v^T J^k v, (B), differentiated through: every tangent is recorded.
Var series_logdet(const LipschitzNet& net, const Linearized& at, const Probe& probe);

// The same value, but an unbiased gradient that needs one recorded tangent; see the source.
Var neumann_logdet(const LipschitzNet& net, const Linearized& at, const Probe& probe);

// What it is made of: that value, and u = v + sum_k (-1)^k c_k J^k v, in the mean (I + J)^-1 v.
struct NeumannSeries {
  Tensor logdet, u;  // (B), (B, D)
};
NeumannSeries neumann_series(const LipschitzNet& net, const Linearized& at, const Probe& probe);

}  // namespace backflow::inline BACKFLOW_PRECISION

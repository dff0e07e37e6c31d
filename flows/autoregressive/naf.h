// Neural autoregressive flow (Huang, Krueger, Lacoste & Courville, "Neural Autoregressive Flows",
// ICML 2018), with deep sigmoidal transforms: layers of
//
//   z_i = logit(sum_k pi_k sigmoid(softplus(a_k) x_i + b_k)),   pi = softmax(w),
//   (a, b, w) = MADE(x_1, ..., x_i-1),   logdet = sum_i log dz_i/dx_i
//
// One layer with enough sigmoids is any density. Fast is the density. A sample takes one evaluation
// of each network, coordinate after coordinate, and for each the root of a mixture.
//
// What the authors do differently: they add 1e-6 to the slopes, not 1e-3, and clip the sum into
// [5e-7, 1 - 5e-7], so that no |z| is above 14.5 and the density has no tails; here nothing is
// clipped (ops/logistic_mixture.h). Five layers of 16 sigmoids with weight-normalised networks, no
// ActNorm. Their best figures are of dense sigmoidal transforms, which mix several such layers.
#pragma once

#include "backflow/flows/conditioners/mlp.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct NafOptions {
  int layers = 2;
  Net net = {};  // with a context: a flow of p(x | context)
  Index sigmoids = 8;
  // Added to each slope. Far out z rises with the least slope of all: without this one a network
  // that is not sure of itself makes samples infinite.
  double least_slope = 1e-3;
};

// On (B, D), any D >= 1; it begins near the identity. An ActNorm stands before each layer, and
// behind the last. Every second layer takes the coordinates in descending order.
std::unique_ptr<Flow> naf(Index D, const NafOptions& options, const Random& random);

}  // namespace backflow::inline BACKFLOW_PRECISION

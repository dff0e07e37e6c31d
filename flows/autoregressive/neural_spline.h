// Neural spline flow, autoregressive (Durkan, Bekasov, Murray & Papamakarios, "Neural Spline
// Flows", NeurIPS 2019, "RQ-NSF (AR)"): layers of
//
//   z_i = spline(x_i; MADE(x_1, ..., x_i-1)),   logdet = sum_i log spline'(x_i)
//
// Fast is the density. A sample takes one evaluation of each network, coordinate after coordinate.
// flows/coupling/neural_spline.h has the couplings, the options, and what the authors do
// differently.
#pragma once

#include "backflow/flows/coupling/neural_spline.h"

namespace backflow::inline BACKFLOW_PRECISION {

// On (B, D), any D >= 1; it begins as the identity. An ActNorm stands before each layer, and behind
// the last. Every second layer takes the coordinates in descending order.
std::unique_ptr<Flow> neural_spline_autoregressive(Index D, const NeuralSplineOptions& options,
                                                   const Random& random);

}  // namespace backflow::inline BACKFLOW_PRECISION

// Inverse autoregressive flow (Kingma, Salimans, Jozefowicz, Chen, Sutskever & Welling, "Improving
// Variational Inference with Inverse Autoregressive Flow", NeurIPS 2016): layers of
//
//   out_i = s_i x_i + (1 - s_i) m_i,   logdet = sum_i log s_i,   s_i = sigmoid(bias + h_i),
//   (h_i, m_i) = MADE(x_1, ..., x_i-1)
//
// or, without the gate, of MAF's out_i = (x_i - mu_i) e^-alpha_i. It is run on noise: forward maps
// noise x, one evaluation of each network, to samples of
//
//   log q(out) = log N(x; 0, I) - logdet
//
// which is all that variational inference, or a fit to an energy, needs. The density of given data
// is the slow direction, coordinate after coordinate. Inverted(iaf(...)) learns from data by
// likelihood, with D evaluations of each network.
//
// What the authors do differently: a gate always, with bias 1 or 2 and no cap; no ActNorm. Their
// networks take the context as one more input; ours adds it to the first hidden layer and to the
// output, and so reaches the first coordinate.
#pragma once

#include "backflow/flows/conditioners/mlp.h"
#include "backflow/flows/transforms/affine.h"
#include "backflow/flows/transforms/gate.h"
#include "backflow/ops/functions.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct IafOptions {
  int layers = 8;
  // A smooth activation: with ReLU, fits to energies lost modes. With a context, such as a code of
  // what is inferred from: q(out | context).
  Net net = {.hidden = {32, 32}, .activation = silu};
  // The gate only ever contracts, which an energy wider than the noise cannot be fitted with, but
  // for the ActNorms; so it is not the default.
  bool gated = false;
  GateOptions gate = {.bias = 2, .cap = 3};
  AffineOptions affine = {.scale = ScaleForm::capped, .cap = 3, .divides = true};
};

// On (B, D), any D >= 1. It begins as the identity, or with a gate as a contraction. An ActNorm
// stands before each layer, and behind the last. Every second layer takes the coordinates in
// descending order.
std::unique_ptr<Flow> iaf(Index D, const IafOptions& options, const Random& random);

}  // namespace backflow::inline BACKFLOW_PRECISION

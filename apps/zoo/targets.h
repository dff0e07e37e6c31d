// Densities in the plane that flows are tried on, with their entropies: what the best of flows
// would reach as its negative log-likelihood. Below it there is only a wrong log-determinant.
//
// Most are those of FFJORD (Grathwohl et al., ICLR 2019) and Residual Flow (Chen et al., NeurIPS
// 2019), whose samplers are taken as they are; their densities follow by one integral at most. The
// energies u1 to u4 are those of Rezende & Mohamed, "Variational Inference with Normalizing Flows",
// ICML 2015: they have no sampler, and are for flows that learn from their own samples.
#pragma once

#include "backflow/apps/model/table.h"
#include "backflow/engine/var.h"
#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct TargetSample {
  Tensor x;                 // (n, 2)
  std::vector<int> labels;  // of which part each is
};

struct Target {
  const char *name, *help;
  double entropy = 0;     // in nats
  double log_z = 0;       // log of the integral of exp(log_density); 0 for what has a sampler
  double half_width = 0;  // the square [-half_width, half_width]^2 holds all but a thousandth of it

  // (n, 2). Null for energies.
  Tensor (*sample)(Index n, const Random& random) = nullptr;
  // log p(x), and -U(x) of an energy, of each of (n, 2): (n), in nats.
  Tensor (*log_density)(const Tensor& x) = nullptr;
  // U(x) with its gradient, (n, 2) -> (n). Null for what has a sampler.
  Var (*energy)(const Var& x) = nullptr;

  // What is made of equally likely parts has so many, with labels 0 ... labels - 1; 0: it is one
  // whole. Given which, the entropy is another: the mean of the parts'.
  int labels = 0;
  double entropy_given_label = 0;
  TargetSample (*sample_with_labels)(Index n, const Random& random) = nullptr;  // the same points
  Tensor (*log_density_given_label)(const Tensor& x, const std::vector<int>& labels) = nullptr;
};

const Table<Target>& targets();

}  // namespace backflow::inline BACKFLOW_PRECISION

// Fully connected layers that stretch no distance: their weights are divided by what is too much of
// their largest singular value sigma, W / max(1, sigma / c) with c < 1 (Miyato et al., "Spectral
// normalization for generative adversarial networks", ICLR 2018; Behrmann et al., "Invertible
// residual networks", ICML 2019).
#pragma once

#include <mutex>

#include "backflow/engine/module.h"
#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Of W (out, in): unit vectors u (out, 1) and v (in, 1), or zeros where W is 0. Then u^T W v is
// close to sigma.
struct SingularVectors {
  Tensor u, v;
};

// Those for which sigma (1 - tolerance) <= u^T W v <= sigma, but for rounding errors. That is
// certain: it rests neither on the start of an iteration nor on a gap between singular values.
// Where the next singular value is smaller by a relative 1e-5 at least, they are right to rounding.
// In about log2(log(n) / tolerance) products of matrices (n, n), n = min(in, out), or up to 21
// where there is little gap. Fails for weights that are not finite.
SingularVectors largest_singular_vectors(const Tensor& W, double tolerance);

// W / max(1, u^T W v / c), with the gradient that it has when u and v are held fixed: it is exact
// where they are the singular vectors.
Var normalized(const Var& W, const SingularVectors& of, double c);

// A layer x W^T + b whose weights are taken as normalized. The spectral norm of those is at most
// 2 c / (1 + c) < 1, whatever an optimizer made of W: sigma is known to a relative (1 - c) / 2.
// The parameters are "weight" (out, in) and "bias" (out). What is known of sigma is no state: it is
// a function of the weights, computed when they have changed. Threads may share a const layer.
class SpectralLinear : public Module {
 public:
  SpectralLinear(Index in, Index out, double c, const Random& random);  // 0 < c <= 0.999

  Var weight() const;  // normalized
  const Var& bias() const { return bias_; }
  void prepare() const;  // computes sigma, unless it is known
  double prepare_flop() const;

  static double most_stretch(double c) { return 2 * c / (1 + c); }

 private:
  SpectralLinear(std::array<Tensor, 2> initial, double c);
  SingularVectors largest() const;
  Parameter &weight_, &bias_;
  double c_;
  mutable std::mutex cache_;  // guards the next two
  // u and v; outside the pool of Tensors, for they live as long as the weights stay as they are.
  mutable std::vector<Real> u_, v_;
  mutable std::uint64_t version_ = 0;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

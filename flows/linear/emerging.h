// Emerging convolutions (Hoogeboom et al., "Emerging convolutions for generative normalizing
// flows", ICML 2019): two autoregressive convolutions, the second on the mirrored image, together
// reach a 3x3 neighbourhood; each has a triangular matrix.
#pragma once

#include "backflow/flows/sequential.h"

namespace backflow::inline BACKFLOW_PRECISION {

// z[i, j] = b + sum over u, v in {0, 1} of w[u, v] x[i - 1 + u, j - 1 + v] with a lower triangular
// last tap: each value depends on itself and on earlier ones. logdet = H W sum log|diag w[1, 1]|.
// Inverse: substitution, one value after another. Fails where a diagonal entry is 0.
class AutoregressiveConv : public Flow {
 public:
  AutoregressiveConv(Tensor weight, Tensor bias);  // (C, C, 2, 2) and (C)
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;

 private:
  Var masked() const;
  Parameter &weight_, &bias_;
};

// Mirrors both axes of the image; logdet = 0.
class Flip : public Flow {
 public:
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;
};

// A 1x1 convolution, an autoregressive one, the mirror, another one, the mirror. Initial values:
// a random orthogonal W, weights N(0, 1) / (2 C) plus the identity in the last tap, no bias.
class Emerging : public Flow {
 public:
  Emerging(Index channels, const Random& random);
  Out forward(const Var& x, Pass& pass) const override { return layers_.forward(x, pass); }
  Tensor inverse(const Tensor& z, Pass& pass) const override { return layers_.inverse(z, pass); }
  void begin_step(const Tensor& x, const Pass& pass) const override { layers_.begin_step(x, pass); }
  bool awaits_first_batch() const override { return layers_.awaits_first_batch(); }
  using Flow::forward, Flow::inverse;

 private:
  Sequential layers_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

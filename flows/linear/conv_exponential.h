// The convolution exponential (Hoogeboom et al., "The convolution exponential and generalized
// Sylvester flows", NeurIPS 2020): exp of the matrix T(k) of a convolution with the kernel k (see
// linear_map.h), applied by its series,
//   exp(T) x = x + T x + T^2 x / 2! + ...,  log det exp(T) = trace T = H W sum of the centre taps.
#pragma once

#include <mutex>

#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The series up to T^terms / terms!; x (B, C, H, W), kernel (C, C, K, L) of odd sizes.
// `terms` convolutions forward, as many back, and as many gradients of the kernel. Fails for a
// kernel of another shape, and for less than no terms.
Var conv_exp(const Var& x, const Var& kernel, int terms);

// z = exp(T(k)) Q (x + b) + c: a bias for each value before and after, a 1x1 convolution Q (64
// Householder reflections above 64 channels), and a kernel k whose spectral norm is held near 0.9:
// k = kernel_orig / (max(1, sigma / 0.9) + 1e-5) with sigma = u^T T v from one step of the power
// iteration per training step (Miyato et al., ICLR 2018). Training takes few terms; exact mode as
// many as rounding can tell, at least the 13 of the authors' code.
class ConvExponential : public Flow {
 public:
  ConvExponential(Index channels, Index height, Index width, const Random& random);
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  // One step of the power iteration.
  void begin_step(const Tensor& x, const Pass& pass) const override;
  // Training cuts the series short, and so has the trace of another map than the one it applies.
  bool exact_in_training() const override { return false; }

  static constexpr int training_terms = 6;
  using Flow::forward, Flow::inverse;

 private:
  Var normalized_kernel() const;
  void check_images(const Shape& x) const;
  Tensor apply(const Tensor& flat) const;             // T flat
  Tensor apply_transposed(const Tensor& flat) const;  // T^T flat

  Parameter &kernel_, &before_, &after_;
  std::unique_ptr<Flow> conv1x1_;
  mutable std::mutex iteration_;  // guards the next three
  Tensor &u_, &v_, &sigma_;  // (C H W), as the authors keep them, and the sigma of the last step
};

}  // namespace backflow::inline BACKFLOW_PRECISION

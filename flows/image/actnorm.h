// Activation normalization (Kingma & Dhariwal, "Glow", NeurIPS 2018): one shift and one scale per
// channel, which the first batch sets so that each channel leaves with mean 0 and variance 1.
#pragma once

#include <mutex>

#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

// z = (x - translation) exp(-log_scale) on (B, C) or (B, C, H, W); logdet = -H W sum(log_scale).
// The first training step takes translation = mean and log_scale = log(std + 1e-8), with the
// unbiased std, from its batch; it fails for a batch with one value per channel. If that batch
// comes backward, through inverse_recorded(), the x that it gives has mean 0 and variance 1.
class ActNorm : public Flow {
 public:
  explicit ActNorm(Index channels);
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  Out inverse_recorded(const Var& z, Pass& pass) const override;
  void begin_step(const Tensor& x, const Pass& pass) const override;
  bool awaits_first_batch() const override;
  using Flow::forward, Flow::inverse;

 private:
  void initialize(const Tensor& x) const;
  void begin_inverse_step(const Tensor& z) const;
  Shape per_channel(const Shape& x) const;  // in which the parameters broadcast against x

  Parameter &translation_, &log_scale_;
  mutable std::mutex first_batch_;  // guards the next
  Tensor& initialized_;             // 0 or 1
};

}  // namespace backflow::inline BACKFLOW_PRECISION

// How a LinearMap keeps the gradients of its log-determinants. Internal to linear_map.cpp.
//
// They are kept outside the pool of Tensors, for they live as long as the weights stay as they are.
#pragma once

#include <mutex>

#include "backflow/flows/linear/linear_map.h"
#include "backflow/ops/linalg.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Computed when somebody first asks for it.
class WithLogdetGradient : public Factorization {
 public:
  std::span<const Real> logdet_gradient() const override {
    std::call_once(once_, [this] { values_ = compute_logdet_gradient().values(); });
    return values_;
  }

 private:
  virtual Tensor compute_logdet_gradient() const = 0;
  mutable std::once_flag once_;
  mutable std::vector<Real> values_;
};

// Of a T(w) that consists of `times` blocks like the one whose log-determinant is given.
class ComputedLogdet : public LogDeterminant {
 public:
  explicit ComputedLogdet(const LogAbsDet& of_block, double times = 1)
      : log_abs_det_(times * of_block.value), gradient_(of_block.gradient.values()) {
    for (Real& g : gradient_) g *= static_cast<Real>(times);
  }
  double log_abs_det() const override { return log_abs_det_; }
  std::span<const Real> logdet_gradient() const override { return gradient_; }

 private:
  double log_abs_det_;
  std::vector<Real> gradient_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

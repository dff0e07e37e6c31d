// Invertible 1x1 convolutions: the channels of each pixel, mixed by one matrix.
#pragma once

#include <mutex>
#include <optional>

#include "backflow/flows/flow.h"
#include "backflow/ops/linalg.h"

namespace backflow::inline BACKFLOW_PRECISION {

// z = W x for each pixel (Kingma & Dhariwal, "Glow", NeurIPS 2018); logdet = H W log|det W|. One
// factorization serves forward and inverse until W changes.
//
// Exact with a (C, C, 1, 1) kernel is the same map plus a bias. Both stay: as in Glow this one has
// no bias, beside an actnorm that shifts, and its checkpoints hold a matrix named W.
class Conv1x1 : public Flow {
 public:
  explicit Conv1x1(Tensor W);  // (C, C)
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;

 private:
  LU factorized() const;  // for the present W

  Parameter& W_;
  mutable std::mutex cache_;  // guards the two below
  mutable std::optional<LU> lu_;
  mutable std::uint64_t version_ = 0;  // W's, when it was factorised
};

// z = Q x with the orthogonal Q = product over rows v of V of (I - 2 v v^T / v^T v), the
// reflections of Householder; logdet = 0 (Hoogeboom et al., "The convolution exponential", NeurIPS
// 2020). Forward and inverse fail where a row is 0, or so small or large that its square is not a
// normal number: such a row gives no direction to reflect in.
class HouseholderConv1x1 : public Flow {
 public:
  explicit HouseholderConv1x1(Tensor V);  // (reflections, C)
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;

 private:
  Var orthogonal() const;
  Parameter& V_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

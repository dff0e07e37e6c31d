// An activation that learns its shape: a monotone rational-quadratic spline per element of an
// example, or one for all (Durkan et al., "Neural Spline Flows", NeurIPS 2019).
#pragma once

#include <array>
#include <mutex>

#include "backflow/flows/flow.h"
#include "backflow/ops/spline.h"

namespace backflow::inline BACKFLOW_PRECISION {

class SplineActivation : public Flow {
 public:
  // Unconstrained parameters as for rational_quadratic_spline: (1, ..., K), (1, ..., K) and
  // (1, ..., K - 1) for examples of shape (...), or (K), (K) and (K - 1). Zeros are the identity.
  SplineActivation(Tensor widths, Tensor heights, Tensor derivatives, SplineOptions options = {});
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  void prepare(Mode mode, bool gradients) const override;
  double prepare_flop(Mode mode) const override;
  using Flow::forward, Flow::inverse;

 private:
  std::shared_ptr<const SplineTables> prepared() const;

  Parameter &widths_, &heights_, &derivatives_;
  SplineOptions options_;
  mutable std::mutex cache_;  // guards the next two
  mutable std::shared_ptr<const SplineTables> prepared_;
  mutable std::array<std::uint64_t, 3> versions_{};  // of the parameters that they are of
};

}  // namespace backflow::inline BACKFLOW_PRECISION

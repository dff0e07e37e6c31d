// A scale per coordinate, the same for all examples.
#pragma once

#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

// z = x e^s on (B, D) with the parameter "log_scale", s (D), which begins as 0; logdet = sum(s).
// The last layer of NICE, whose couplings preserve volume.
class Diagonal : public Flow {
 public:
  explicit Diagonal(Index D);
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  Out inverse_recorded(const Var& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;

 private:
  Out scaled(const Var& x, const Var& log_scale, const Pass& pass) const;

  Parameter& log_scale_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

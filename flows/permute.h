// Coordinates in another order: between layers that treat the first ones differently.
#pragma once

#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

// z_i = x_order[i] on (B, D); logdet = 0. `order` holds each of 0 ... D - 1 once.
class Permute : public Flow {
 public:
  explicit Permute(std::vector<Index> order);
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  Out inverse_recorded(const Var& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;

 private:
  std::vector<Index> order_, back_;
};

std::unique_ptr<Permute> reverse(Index D);  // z_i = x_(D - 1 - i)

}  // namespace backflow::inline BACKFLOW_PRECISION

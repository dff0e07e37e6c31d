// Images as vectors: (B, C, H, W) becomes (B, C H W), row by row, and back. Moves no numbers,
// logdet = 0. Between the layers of images and flows on (B, D).
#pragma once

#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

class Flatten : public Flow {
 public:
  explicit Flatten(Shape example);  // (C, H, W): of one example; any rank
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  Out inverse_recorded(const Var& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;

 private:
  Shape example_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

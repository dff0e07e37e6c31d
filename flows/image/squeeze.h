// Trades space for channels: each 2 x 2 block of pixels becomes 4 channels of one pixel. Moves
// numbers about and nothing else, logdet = 0.
#pragma once

#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

class Squeeze : public Flow {
 public:
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;
};

class Unsqueeze : public Flow {
 public:
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

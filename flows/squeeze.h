// Trades space for channels: each 2 x 2 block of pixels becomes 4 channels of one pixel. Moves
// numbers about and nothing else, logdet = 0.
#pragma once

#include "flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

// (B, C, H, W) <-> (B, 4 C, H / 2, W / 2); channel 4 c + 2 i + j holds row i, column j of the
// blocks of channel c. These fail for an odd height or width, and for channels not in fours.
Var space_to_depth(const Var& x);
Var depth_to_space(const Var& x);

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

// The op of a fully connected layer, and of one whose weights are masked.
#pragma once

#include <memory>
#include <vector>

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

// x W^T + b for x (B, in), W (out, in) and b (out): -> (B, out). The product is added to b where it
// arises, which saves a pass over it.
Var fully_connected(const Var& x, const Var& W, const Var& b);

// Weights in another order, for callers who keep them. They are no Tensors: what a network keeps is
// no part of what a walk holds, nor of memory_use().
using KeptWeights = std::shared_ptr<const std::vector<Real>>;

// How the masked weights of an autoregressive network are multiplied at little more than half the
// price. With outputs and inputs in the right orders, such as by degrees, the ones of the mask lie
// below a staircase:
//
//   inputs ->                    Panels of outputs need no more than the inputs up to the end of
//   1 1 . . . . . .              their last step: products of panels leave out most of the zeros.
//   1 1 1 1 . . . .  outputs
//   1 1 1 1 1 1 . .  |           In either order of the steps, and for a mask without a staircase
//   1 1 1 1 1 1 1 1  v           as well: then a panel needs all inputs.
//
// A handle, cheap to copy.
class Staircase {
 public:
  // A mask (out, in) of zeros and ones, and how outputs and inputs are to be ordered: the first is
  // number rows[0], and so on. Fails unless each number is there once.
  Staircase(const Tensor& mask, std::vector<Index> rows, std::vector<Index> columns);

  // The part of all weights that products of panels read.
  double area() const;
  // mask W in the orders of the staircase. Fails unless W has the shape of the mask.
  KeptWeights masked(const Tensor& W) const;

 private:
  friend Var fully_connected(const Var& x, const Var& W, const Var& b, const Staircase& staircase,
                             KeptWeights masked);
  struct Plan;
  std::shared_ptr<const Plan> plan_;
};

// The same as fully_connected(x, mask W, b), but that inputs and outputs are in the orders of the
// staircase; W and b are in their own. Weights where the mask is 0 have no effect, whatever they
// are, and the gradient 0. `masked` is staircase.masked(W), for callers who keep it: it costs as
// much as a few dozen examples.
Var fully_connected(const Var& x, const Var& W, const Var& b, const Staircase& staircase,
                    KeptWeights masked);

}  // namespace backflow::inline BACKFLOW_PRECISION

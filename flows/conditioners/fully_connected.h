// The layer that networks are made of: every output depends on every input.
#pragma once

#include "backflow/engine/module.h"
#include "backflow/flows/conditioners/initializers.h"
#include "backflow/ops/fully_connected.h"

namespace backflow::inline BACKFLOW_PRECISION {

// y = x W^T + b, as torch's Linear: (B, in) -> (B, out), with the parameters "weight", W of
// (out, in), and "bias", b of (out). No flow, but a part of networks inside of flows and elsewhere;
// the flow with a square W is Linear (flows/linear/linear.h).
class FullyConnected : public Module {
 public:
  FullyConnected(Tensor weight, Tensor bias);  // fails for other shapes
  FullyConnected(Index in, Index out, const Initializer& initial, const Random& random);

  Var operator()(const Var& x) const;  // fails unless x is (B, in)
  // With W times a mask of zeros and ones, element by element. Where the mask is 0, W has no
  // effect and the gradient 0.
  Var operator()(const Var& x, const Tensor& mask) const;
  // The same with inputs and outputs in the orders of the staircase that its mask is sorted by, and
  // staircase.masked(W).
  Var operator()(const Var& x, const Staircase& staircase, const KeptWeights& masked) const;
  Parameter& weight() { return weight_; }
  Parameter& bias() { return bias_; }
  const Parameter& weight() const { return weight_; }
  const Parameter& bias() const { return bias_; }
  Index in() const { return weight_.shape()[1]; }
  Index out() const { return weight_.shape()[0]; }

 private:
  explicit FullyConnected(std::array<Tensor, 2> initial);
  void check_batch(const Shape& x) const;

  Parameter &weight_, &bias_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

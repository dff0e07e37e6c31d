// Dequantization with noise that is learned (Ho et al., "Flow++", ICML 2019): the place of a real
// number within its pixel value need not be uniform. A conditional flow, run on noise, draws it:
//
//   v = flow(eps | x), eps ~ N(0, I);   u = sigmoid(v);   z = x + u
//   log q(u | x) = log N(eps) - log|det dv/deps| - sum_i log sigmoid(v_i) sigmoid(-v_i)
//
// The logdet is -log q(u | x). So with log p of what follows a walk gives an unbiased value of a
// bound that is tighter than that of uniform noise, E_q[log p(x + u) - log q(u | x)] <= log P(x);
// the flow learns by the same objective to make it tighter.
#pragma once

#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

// On examples of any shape, D whole numbers 0, ..., levels - 1 each. eps comes from pass.noise,
// where there is none it is 0. The inverse is floor.
class VariationalDequantization : public Flow {
 public:
  // The flow is one of (B, D) and takes a context (B, D): the example, scaled to (-1, 1).
  VariationalDequantization(std::unique_ptr<Flow> flow, Index levels);
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  void begin_step(const Tensor& x, const Pass& pass) const override;
  bool awaits_first_batch() const override { return flow_->awaits_first_batch(); }
  Index context() const override { return 0; }  // the flow's comes from here
  bool has_learned_inverse() const override { return false; }
  const char* why_no_bijection() const override {
    return "the inverse of dequantization rounds to whole numbers, which have a probability and no "
           "density";
  }
  using Flow::forward, Flow::inverse;

 private:
  Pass given(const Var& x, const Pass& pass) const;

  std::unique_ptr<Flow> flow_;
  Index levels_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

// A flow turned around.
#pragma once

#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

// z = f^-1(x): forward is the other's inverse_recorded(), and the other way round. So a flow whose
// fast direction is from noise to data, such as IAF or a planar flow, learns from data by
// likelihood: slowly, but exactly.
//
// An ActNorm inside learns from the first batch that comes its way, backward now: its output has
// mean 0 and variance 1 then, as always.
class Inverted : public Flow {
 public:
  explicit Inverted(std::unique_ptr<Flow> flow);  // fails for null
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  Out inverse_recorded(const Var& z, Pass& pass) const override;
  void begin_step(const Tensor& x, const Pass& pass) const override;
  bool awaits_first_batch() const override { return flow_->awaits_first_batch(); }
  void prepare(Mode mode, bool gradients) const override { flow_->prepare(mode, gradients); }
  double prepare_flop(Mode mode) const override { return flow_->prepare_flop(mode); }
  // Both directions are exact: an inverse that the other learned is not made use of.
  bool has_learned_inverse() const override { return false; }
  using Flow::forward, Flow::inverse;

 private:
  std::unique_ptr<Flow> flow_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

// Flows one after another: z = f_n(... f_1(x)), the log-determinants add up.
#pragma once

#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The parameters of layer i are named "i.NAME", as in a PyTorch state_dict.
class Sequential : public Flow {
 public:
  explicit Sequential(std::vector<std::unique_ptr<Flow>> layers);
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  Out inverse_recorded(const Var& z, Pass& pass) const override;
  void begin_step(const Tensor& x, const Pass& pass) const override;
  bool awaits_first_batch() const override;
  void prepare(Mode mode, bool gradients) const override;
  double prepare_flop(Mode mode) const override;
  using Flow::forward, Flow::inverse;

  const std::vector<std::unique_ptr<Flow>>& layers() const { return layers_; }

 private:
  std::vector<std::unique_ptr<Flow>> layers_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

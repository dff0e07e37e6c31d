#include "backflow/flows/inverted.h"

namespace backflow::inline BACKFLOW_PRECISION {

Inverted::Inverted(std::unique_ptr<Flow> flow) : flow_(std::move(flow)) {
  if (!flow_) fail("inverted", "the flow is null");
  add_module("flow", *flow_);
}

Out Inverted::forward(const Var& x, Pass& pass) const { return flow_->inverse_recorded(x, pass); }

Out Inverted::inverse_recorded(const Var& z, Pass& pass) const { return flow_->forward(z, pass); }

Tensor Inverted::inverse(const Tensor& z, Pass& pass) const {
  const NoGrad no_grad;
  return flow_->forward(z, pass).z.value();
}

// Layers that await their first batch see it only in a walk, and this flow is walked backward. When
// none of them waits any more, x may be anything.
void Inverted::begin_step(const Tensor& x, const Pass& pass) const {
  if (flow_->awaits_first_batch()) {
    const NoGrad no_grad;
    Pass walk = pass;
    walk.mode = Mode::train;
    if (context() == 0) walk.context = {};  // it may be meant for layers around this one
    flow_->inverse_recorded(x, walk);
  }
  flow_->begin_step(x, pass);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

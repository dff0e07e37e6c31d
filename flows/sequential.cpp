#include "flows/sequential.h"

#include "engine/parallel.h"
#include "engine/trace.h"
#include "ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {

Sequential::Sequential(std::vector<std::unique_ptr<Flow>> layers) : layers_(std::move(layers)) {
  for (std::size_t i = 0; i < layers_.size(); ++i) add_module(std::to_string(i), *layers_[i]);
}

void Sequential::prepare(Mode mode, bool gradients) const {
  parallel_for(static_cast<Index>(layers_.size()), 1, [&](Index i, Index end) {
    for (; i < end; ++i) layers_[i]->prepare(mode, gradients);
  });
  trace_work("prepare");
}

Out Sequential::forward(const Var& x, Pass& pass) const {
  prepare(pass.mode, grad_enabled());
  Out out{x, Tensor::zeros({x.size(0)})};
  for (const auto& layer : layers_) {
    const Out next = layer->forward(out.z, pass);
    out = {next.z, out.logdet + next.logdet};
  }
  return out;
}

Tensor Sequential::inverse(const Tensor& z, Pass& pass) const {
  Tensor x = z;
  for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer)
    x = (*layer)->inverse(x, pass);
  return x;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

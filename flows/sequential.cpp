#include "backflow/flows/sequential.h"

#include <algorithm>
#include <atomic>

#include "backflow/engine/parallel.h"
#include "backflow/engine/trace.h"
#include "backflow/ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace {

// While it lives, a layer that takes no context, and would fail for one, is walked without.
class ContextOf {
 public:
  ContextOf(const Flow& layer, Pass& pass) : pass_(pass) {
    if (pass.context.value().defined() && layer.context() == 0) std::swap(hidden_, pass.context);
  }
  ~ContextOf() {
    if (hidden_.value().defined()) std::swap(hidden_, pass_.context);
  }
  ContextOf(const ContextOf&) = delete;
  ContextOf& operator=(const ContextOf&) = delete;

 private:
  Pass& pass_;
  Var hidden_;
};

// Layers do not see what is hidden from them, so a context that none of them takes fails here.
void check_given_context(const Sequential& flow, const Pass& pass, const Shape& batch) {
  if (pass.context.value().defined())
    check_context("sequential", flow.context(), pass, batch.size(0));
}

}  // namespace

Sequential::Sequential(std::vector<std::unique_ptr<Flow>> layers) : layers_(std::move(layers)) {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    if (!layers_[i]) fail("sequential", "layer ", i, " of ", layers_.size(), " is null");
    add_module(std::to_string(i), *layers_[i]);
  }
}

// The costly layers come first: one that is left for the end would keep the other threads waiting.
// Which thread takes which layer changes no bits.
void Sequential::prepare(Mode mode, bool gradients) const {
  std::vector<std::pair<double, const Flow*>> by_cost;
  for (const auto& layer : layers_) by_cost.emplace_back(-layer->prepare_flop(mode), layer.get());
  std::stable_sort(by_cost.begin(), by_cost.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  std::atomic<std::size_t> taken = 0;
  parallel_for(std::ssize(by_cost), 1, [&](Index begin, Index end) {
    for (; begin < end; ++begin) by_cost[taken++].second->prepare(mode, gradients);
  });
  trace_work("prepare");
}

double Sequential::prepare_flop(Mode mode) const {
  double flop = 0;
  for (const auto& layer : layers_) flop += layer->prepare_flop(mode);
  return flop;
}

bool Sequential::awaits_first_batch() const {
  return std::any_of(layers_.begin(), layers_.end(),
                     [](const auto& layer) { return layer->awaits_first_batch(); });
}

// A layer that awaits its first batch needs x as the layers before it leave it, so x walks along up
// to the last such layer. After the first step none waits, and nothing walks.
void Sequential::begin_step(const Tensor& x, const Pass& pass) const {
  const NoGrad no_grad;
  Pass walk = pass;  // a copy: losses and latents of this walk are thrown away
  walk.step_begun = true;
  const auto waiting = std::find_if(layers_.rbegin(), layers_.rend(),
                                    [](const auto& layer) { return layer->awaits_first_batch(); });
  const auto last = waiting == layers_.rend() ? layers_.begin() : waiting.base() - 1;
  Tensor at = x;
  for (auto layer = layers_.begin(); layer != layers_.end(); ++layer) {
    (*layer)->begin_step(at, pass);
    const ContextOf context(**layer, walk);
    if (layer < last) at = (*layer)->forward(at, walk).z.value();
  }
}

Out Sequential::forward(const Var& x, Pass& pass) const {
  check_given_context(*this, pass, x.shape());
  prepare(pass.mode, grad_enabled());
  Out out{x, Tensor::zeros({x.size(0)})};
  for (const auto& layer : layers_) {
    const ContextOf context(*layer, pass);
    const Out next = layer->forward(out.z, pass);
    out = {next.z, out.logdet + next.logdet};
  }
  return out;
}

Tensor Sequential::inverse(const Tensor& z, Pass& pass) const {
  check_given_context(*this, pass, z.shape());
  Tensor x = z;
  for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
    const ContextOf context(**layer, pass);
    x = (*layer)->inverse(x, pass);
  }
  return x;
}

Out Sequential::inverse_recorded(const Var& z, Pass& pass) const {
  check_given_context(*this, pass, z.shape());
  prepare(pass.mode, grad_enabled());
  Out out{z, Tensor::zeros({z.size(0)})};
  for (auto layer = layers_.rbegin(); layer != layers_.rend(); ++layer) {
    const ContextOf context(**layer, pass);
    const Out next = (*layer)->inverse_recorded(out.z, pass);
    out = {next.z, out.logdet + next.logdet};
  }
  return out;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

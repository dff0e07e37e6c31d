#include "backflow/flows/conditioners/mlp.h"

#include "backflow/ops/matmul.h"

namespace backflow::inline BACKFLOW_PRECISION {

Mlp::Mlp(Index in, Index out, const Net& net, const Random& random)
    : Mlp(in, out, net, random, {}) {}

Mlp::Mlp(Index in, Index out, const Net& net, const Random& random, std::vector<Tensor> masks)
    : masks_(std::move(masks)), activation_(net.activation), context_(net.context) {
  if (!activation_) fail("mlp", "the activation is null, expected one such as relu");
  if (context_ < 0) fail("mlp", "a context of ", context_, " numbers; expected 0 or more");
  std::vector<Index> widths = net.hidden;
  widths.push_back(out);
  Index from = in;
  for (const Index to : widths) {
    const auto i = layers_.size();
    layers_.emplace_back(from, to, net.initial, random.stream(static_cast<std::uint32_t>(i)));
    add_module(std::to_string(2 * i), layers_.back());
    from = to;
  }
  if (context_ == 0) return;
  const Random others = random.stream(static_cast<std::uint32_t>(layers_.size()));
  if (!net.hidden.empty())
    context_hidden_ =
        &add_parameter("context_hidden", net.initial({net.hidden[0], context_}, others)[0]);
  context_output_ = &add_parameter("context_output", Tensor::zeros({out, context_}));
}

void Mlp::start_at(const Tensor& bias, Start start) {
  FullyConnected& last = layers_.back();
  if (start == Start::constant) last.weight().set(Tensor::zeros(last.weight().shape()));
  last.bias().set(bias);
}

Var Mlp::operator()(const Var& x, const Pass& pass) const {
  const auto layer = [this](std::size_t i, const FullyConnected& at, const Var& in) {
    return masks_.empty() || !masks_[i].defined() ? at(in) : at(in, masks_[i]);
  };
  const auto of_context = [&](const Parameter& weight) {
    return matmul(pass.context, transposed(weight.var()));
  };
  Var h = layer(0, layers_.front(), x);
  check_context("mlp", context_, pass, x.size(0));
  std::size_t i = 1;
  for (auto at = std::next(layers_.begin()); at != layers_.end(); ++at, ++i) {
    h = activation_(h);
    if (i == 1 && context_hidden_) h = h + of_context(*context_hidden_);
    h = layer(i, *at, h);
  }
  return context_output_ ? h + of_context(*context_output_) : h;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

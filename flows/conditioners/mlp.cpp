#include "backflow/flows/conditioners/mlp.h"

namespace backflow::inline BACKFLOW_PRECISION {

Mlp::Mlp(Index in, Index out, const Net& net, const Random& random) : activation_(net.activation) {
  if (!activation_) fail("mlp", "the activation is null, expected one such as relu");
  std::vector<Index> widths = net.hidden;
  widths.push_back(out);
  Index from = in;
  for (const Index to : widths) {
    const auto i = layers_.size();
    layers_.emplace_back(from, to, net.initial, random.stream(static_cast<std::uint32_t>(i)));
    add_module(std::to_string(2 * i), layers_.back());
    from = to;
  }
}

Var Mlp::operator()(const Var& x) const {
  Var h = layers_.front()(x);
  for (auto layer = std::next(layers_.begin()); layer != layers_.end(); ++layer)
    h = (*layer)(activation_(h));
  return h;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

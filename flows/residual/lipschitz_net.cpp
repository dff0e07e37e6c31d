#include "backflow/flows/residual/lipschitz_net.h"

#include <cmath>

#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

LipschitzNet::LipschitzNet(Index D, const LipschitzOptions& options, const Random& random)
    : D_(D), c_(options.c) {
  if (options.context < 0)
    fail("lipschitz_net", "a width of the context of 0 or more expected, got ", options.context);
  std::vector<Index> widths = options.hidden;
  widths.push_back(D);
  Index from = D;
  for (const Index to : widths) {
    const auto i = layers_.size();
    const std::string number = std::to_string(i);
    activations_.push_back(i > 0 || options.activation_first
                               ? std::make_unique<Contraction>(options.activation)
                               : nullptr);
    if (activations_[i]) add_module(std::string("a") + number, *activations_[i]);
    layers_.emplace_back(from, to, c_, random.stream(static_cast<std::uint32_t>(i)));
    add_module(std::string("l") + number, layers_.back());
    from = to;
  }
  if (options.context > 0)
    context_ = &add_parameter("context.weight", Tensor::zeros({widths[0], options.context}));
}

std::vector<Var> LipschitzNet::weights() const {
  std::vector<Var> weights;
  for (const SpectralLinear& layer : layers_) weights.push_back(layer.weight());
  return weights;
}

Linearized LipschitzNet::at(const Var& x, const Var& context,
                            const std::vector<Var>& weights) const {
  if (x.rank() != 2 || x.size(1) != D_)
    fail("lipschitz_net", "a batch (B, ", D_, ") expected, the shape is ", x.shape());
  Linearized result{x, {}, weights};
  Var& h = result.value;
  std::size_t i = 0;
  for (const SpectralLinear& layer : layers_) {
    Var slope;
    if (activations_[i]) {
      const auto both = (*activations_[i])(h);
      h = both[0];
      slope = both[1];
    }
    result.slopes.push_back(slope);
    h = matmul(h, transposed(weights[i])) + layer.bias();
    if (i++ == 0 && context_) h = h + matmul(context, transposed(*context_));
  }
  return result;
}

Var LipschitzNet::jvp(const Linearized& at, const Var& v) const {
  Var tangent = v;
  for (std::size_t i = 0; i < at.weights.size(); ++i) {
    if (activations_[i]) tangent = at.slopes[i] * tangent;
    tangent = matmul(tangent, transposed(at.weights[i]));
  }
  return tangent;
}

double LipschitzNet::lipschitz() const {
  return std::pow(SpectralLinear::most_stretch(c_), static_cast<double>(layers_.size()));
}

void LipschitzNet::prepare() const {
  for (const SpectralLinear& layer : layers_) layer.prepare();
}

double LipschitzNet::prepare_flop() const {
  double flop = 0;
  for (const SpectralLinear& layer : layers_) flop += layer.prepare_flop();
  return flop;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

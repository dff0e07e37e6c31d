// What the authors' code (nicola-decao/BNAF) does otherwise: it keeps the logarithms of the whole
// blocks of each example, (B, D, a, a) numbers a layer, where the product with a vector, (B, D, a),
// is enough; it has no inverse; and no context but by concatenation to x.
#include "backflow/flows/autoregressive/block_naf.h"

#include <cmath>
#include <limits>

#include "backflow/flows/autoregressive/block_layer.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/permute.h"
#include "backflow/flows/sequential.h"
#include "backflow/ops/increasing.h"
#include "backflow/ops/logmatmulexp.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

// A layer as a product: its weight (D o, D i), the logarithms of the diagonal blocks (D, o, i), and
// what is added, (D o) or (B, D o).
struct BlockNaf::Layer {
  Var weight, log_diagonal, shift;
};

// f (B, D), log df_d/dx_d (B, D), and what went into each layer.
struct BlockNaf::Values {
  Var f, log_slope;
  std::vector<Tensor> inputs;
};

static Tensor uniform_within(double bound, const Shape& shape, const Random& random) {
  return pointwise(random.uniform(shape),
                   [bound](Real u) { return static_cast<Real>(bound * (2 * u - 1)); });
}

BlockNaf::BlockNaf(Index D, const BlockNafOptions& options, const Random& random)
    : D_(D), context_(options.context), form_(options.form) {
  if (D < 1 || context_ < 0 || options.hidden.empty() || std::ranges::min(options.hidden) < 1)
    fail("block_naf",
         "D >= 1, a context >= 0 and hidden layers of units >= 1 expected, got D = ", D,
         ", a context of ", context_, " and ", options.hidden.size(), " hidden layers");
  Index in = 1;
  for (const Index out : options.hidden) {
    add_layer(in, out, random);
    in = out;
  }
  add_layer(in, 1, random);
  // At first the context bends z, and does not move it.
  if (Parameter* last = parameters_.back().context) last->set(Tensor::zeros(last->shape()));
  if (form_ == BlockNafForm::gated) gate_ = &add_parameter("gate", random.normal({1}));
}

void BlockNaf::add_layer(Index in, Index out, const Random& random) {
  const std::size_t i = parameters_.size();
  const std::string name = std::to_string(2 * i) + ".";
  const Random numbers = random.stream(static_cast<std::uint32_t>(i));
  const auto [weight, log_scale] = initial_block_weight(D_, out, in, numbers.stream(0));
  const double bound = 1 / std::sqrt(static_cast<double>(D_ * out));
  parameters_.push_back(
      {add_parameter(name + "weight", weight), add_parameter(name + "log_scale", log_scale),
       add_parameter(name + "bias", uniform_within(bound, {D_ * out}, numbers.stream(1))),
       nullptr});
  if (context_ == 0) return;
  const double spread = 1 / std::sqrt(static_cast<double>(context_));
  parameters_.back().context = &add_parameter(
      name + "context", uniform_within(spread, {D_ * out, context_}, numbers.stream(2)));
}

std::vector<BlockNaf::Layer> BlockNaf::layers(const Shape& x, const Pass& pass) const {
  if (x.rank() != 2 || x[1] != D_)
    fail("block_naf", "a batch (B, ", D_, ") expected, the shape is ", x);
  check_context("block_naf", context_, pass, x[0]);
  std::vector<Layer> all;
  for (const Parameters& p : parameters_) {
    const auto [weight, log_diagonal] = block_weight(p.weight, p.log_scale, D_);
    all.push_back({weight, log_diagonal, p.bias});
    if (p.context) all.back().shift = matmul(pass.context, transposed(*p.context)) + p.bias;
  }
  return all;
}

BlockNaf::Values BlockNaf::through(const std::vector<Layer>& layers, const Var& x) {
  const Index B = x.size(0), D = layers[0].log_diagonal.size(0);
  Values net{.f = x, .log_slope = {}, .inputs = {}};
  for (const auto& [weight, log_diagonal, shift] : layers) {
    const Index out = log_diagonal.size(1);
    const bool first = net.inputs.empty(), last = net.inputs.size() + 1 == layers.size();
    net.inputs.push_back(net.f.value());
    net.log_slope =
        first ? reshape(log_diagonal, {1, D, out}) : logmatmulexp(net.log_slope, log_diagonal);
    net.f = matmul(net.f, transposed(weight)) + shift;
    if (last) break;
    const auto [h, log_tanh_slope] = tanh_and_log_slope(net.f);
    net.f = h;
    net.log_slope = net.log_slope + reshape(log_tanh_slope, {B, D, out});
  }
  net.log_slope = reshape(net.log_slope, {B, D});
  return net;
}

// {z, log dz_d/dx_d}
std::array<Var, 2> BlockNaf::with_residual(const Var& x, const Values& net) const {
  switch (form_) {
    case BlockNafForm::plain:
      return {net.f, net.log_slope};
    case BlockNafForm::residual:
      return {x + net.f, softplus(net.log_slope)};
    case BlockNafForm::gated:
      break;
  }
  const Var& gate = *gate_;
  return {sigmoid(gate) * net.f + sigmoid(-gate) * x,
          softplus(net.log_slope + gate) - softplus(gate)};
}

Out BlockNaf::forward(const Var& x, Pass& pass) const {
  const auto [z, log_slope] = with_residual(x, through(layers(x.shape(), pass), x));
  return {z, sum_examples(log_slope)};
}

// The network of coordinate d alone, of one input. What the coordinates before it give to its
// blocks stays the same while the root is looked for: known[i] goes into layer i, (B, d in).
Tensor BlockNaf::inverse(const Tensor& z, Pass& pass) const {
  const NoGrad no_grad;
  const std::vector<Layer> all = layers(z.shape(), pass);
  std::vector<Tensor> known(all.size());
  for (Index d = 0; d < D_; ++d) {
    std::vector<Layer> own;
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto& [weight, log_diagonal, shift] = all[i];
      const Index out = log_diagonal.size(1), in = log_diagonal.size(2);
      const Tensor rows = slice(weight.value(), 0, d * out, (d + 1) * out);
      Tensor rest = slice(shift.value(), -1, d * out, (d + 1) * out);
      if (d > 0) rest = rest + matmul(known[i], transposed(slice(rows, 1, 0, d * in)));
      own.push_back(
          {slice(rows, 1, d * in, (d + 1) * in), slice(log_diagonal.value(), 0, d, d + 1), rest});
    }
    const Tensor x = inverse_of(slice(z, 1, d, d + 1), own, d);
    const Values net = through(own, x);
    for (std::size_t i = 0; i < all.size(); ++i)
      known[i] = d == 0 ? net.inputs[i] : concat({known[i], net.inputs[i]}, 1);
  }
  return known[0];
}

Tensor BlockNaf::inverse_of(const Tensor& z, const std::vector<Layer>& own, Index d) const {
  if (form_ == BlockNafForm::plain) {
    constexpr Real far = std::numeric_limits<Real>::max();
    const Tensor least = through(own, Tensor::full(z.shape(), -far)).f.value();
    const Tensor greatest = through(own, Tensor::full(z.shape(), far)).f.value();
    for (Index b = 0; b < z.size(); ++b)
      if (!(z[b] > least[b] && z[b] < greatest[b]))
        fail("block_naf", "example ", b, " has no x: its z[", d, "] is ", z[b], ", and without a ",
             "residual they are between ", least[b], " and ", greatest[b], " there");
  }
  constexpr Interval guess{-10, 10};
  return invert_together(
      "block_naf", z,
      [&](const Tensor& x) -> std::array<Tensor, 2> {
        const auto [value, log_slope] = with_residual(x, through(own, x));
        return {value.value(), exp(log_slope).value()};
      },
      guess);
}

// x_d = x0_d - (z_d(x) - z_d) / slope, with x0_d and the slope at it held fixed, is one step of
// Newton's method at the root: it moves x0_d by rounding errors alone, and has its gradients.
Out BlockNaf::inverse_recorded(const Var& z, Pass& pass) const {
  const Tensor root = inverse(z.value(), pass);
  const std::vector<Layer> all = layers(z.shape(), pass);
  Var x = root;
  for (Index d = 0; d < D_; ++d) {
    const auto [value, log_slope] = with_residual(x, through(all, x));
    const Tensor slope = exp(slice(log_slope.value(), 1, d, d + 1)).value();
    const Var step = (slice(value, 1, d, d + 1) - slice(z, 1, d, d + 1)) / slope;
    x = concat({slice(x, 1, 0, d), slice(root, 1, d, d + 1) - step, slice(root, 1, d + 1, D_)}, 1);
  }
  return {x, -sum_examples(with_residual(x, through(all, x))[1])};
}

std::unique_ptr<Flow> block_naf(Index D, const BlockNafOptions& options, const Random& random) {
  if (options.layers < 1) fail("block_naf", "at least one layer expected, got ", options.layers);
  std::vector<std::unique_ptr<Flow>> layers;
  for (int i = 0; i < options.layers; ++i) {
    if (i > 0) layers.push_back(reverse(D));
    layers.push_back(std::make_unique<ActNorm>(D));
    layers.push_back(
        std::make_unique<BlockNaf>(D, options, random.stream(static_cast<std::uint32_t>(i))));
  }
  layers.push_back(std::make_unique<ActNorm>(D));
  return std::make_unique<Sequential>(std::move(layers));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

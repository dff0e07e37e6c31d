#include "backflow/flows/linear/emerging.h"

#include "backflow/engine/parallel.h"
#include "backflow/flows/linear/conv1x1.h"
#include "backflow/flows/linear/random_orthogonal.h"
#include "backflow/ops/conv.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Conv2d causal{1, 1, 1, 0, 0};  // zeros above and to the left

// 1 where the weight may be other than 0: the last tap sees no later channel.
Tensor mask(Index channels) {
  Tensor mask = Tensor::full({channels, channels, 2, 2}, 1);
  for (Index out = 0; out < channels; ++out)
    for (Index in = out + 1; in < channels; ++in)
      mask.mutable_data()[(out * channels + in) * 4 + 3] = 0;
  return mask;
}

Var last_tap_diagonal(const Var& weight) {
  const Index C = weight.size(0);
  const Var last = slice(reshape(weight, {C, C, 4}), 2, 3, 4);
  return sum(reshape(last, {C, C}) * Tensor::identity(C), {1});
}

// Solves for one image in place: its values z[c][pixel], already without the bias, become x. In
// double, since an error in one pixel enters all later ones.
void substitute(const Tensor& w, Index C, Index H, Index W, double* x) {
  for (Index pixel = 0; pixel < H * W; ++pixel) {
    const Index i = pixel / W, j = pixel % W;
    for (Index out = 0; out < C; ++out) {
      const Real* taps = w.data() + out * C * 4;
      double value = x[out * H * W + pixel];
      for (Index in = 0; in < C; ++in, taps += 4) {
        const double* from = x + in * H * W + pixel;
        if (i > 0 && j > 0) value -= taps[0] * from[-W - 1];
        if (i > 0) value -= taps[1] * from[-W];
        if (j > 0) value -= taps[2] * from[-1];
        if (in < out) value -= taps[3] * from[0];
      }
      x[out * H * W + pixel] = value / w[(out * C + out) * 4 + 3];
    }
  }
}

std::vector<std::unique_ptr<Flow>> emerging_layers(Index channels, const Random& random) {
  const auto autoregressive = [&](std::uint32_t which) {
    Tensor weight = random.normal({1, channels * channels * 4}, which << 16) *
                    (1 / (2 * static_cast<Real>(channels)));
    for (Index c = 0; c < channels; ++c) weight.mutable_data()[(c * channels + c) * 4 + 3] += 1;
    return std::make_unique<AutoregressiveConv>(weight.reshape({channels, channels, 2, 2}),
                                                Tensor::zeros({channels}));
  };
  std::vector<std::unique_ptr<Flow>> layers;
  layers.push_back(std::make_unique<Conv1x1>(random_orthogonal(channels, random)));
  layers.push_back(autoregressive(1));
  layers.push_back(std::make_unique<Flip>());
  layers.push_back(autoregressive(2));
  layers.push_back(std::make_unique<Flip>());
  return layers;
}

}  // namespace

AutoregressiveConv::AutoregressiveConv(Tensor weight, Tensor bias)
    : weight_(add_parameter("weight", std::move(weight))),
      bias_(add_parameter("bias", std::move(bias))) {
  const Shape& w = weight_.shape();
  if (w.rank() != 4 || w[0] != w[1] || w[2] != 2 || w[3] != 2)
    fail("emerging", "weights (C, C, 2, 2) expected, their shape is ", w);
  if (!(bias_.shape() == Shape{w[0]}))
    fail("emerging", "the weights are ", w, ", so the bias must be (", w[0], "), its shape is ",
         bias_.shape());
}

Var AutoregressiveConv::masked() const { return weight_ * mask(weight_.shape()[0]); }

Out AutoregressiveConv::forward(const Var& x, Pass&) const {
  const Var z = conv2d(x, masked(), bias_, causal);
  const Real pixels = static_cast<Real>(x.size(2) * x.size(3));
  return {z, broadcast_to(pixels * sum(log(abs(last_tap_diagonal(weight_)))), {x.size(0)})};
}

Tensor AutoregressiveConv::inverse(const Tensor& z, Pass&) const {
  const Tensor w = masked().value(), diagonal = last_tap_diagonal(weight_).value();
  const Index C = w.size(0), size = z.size() / std::max<Index>(1, z.size(0));
  if (z.rank() != 4 || z.size(1) != C)
    fail("emerging", "images with ", C, " channels expected, the shape is ", z.shape());
  for (Index c = 0; c < C; ++c)
    if (diagonal[c] == 0)
      fail("emerging", "cannot be inverted: the diagonal entry of channel ", c, " is 0");
  const Tensor shifted = z - bias_.value().reshape({C, 1, 1});
  Tensor x = Tensor::empty(z.shape());
  parallel_for(z.size(0), 1, [&, out = x.mutable_data()](Index image, Index end) {
    for (; image < end; ++image) {
      const Real* from = shifted.data() + image * size;
      std::vector<double> values(from, from + size);
      substitute(w, C, z.size(2), z.size(3), values.data());
      std::transform(values.begin(), values.end(), out + image * size,
                     [](double v) { return static_cast<Real>(v); });
    }
  });
  return x;
}

Out Flip::forward(const Var& x, Pass&) const {
  return {flip(x, {2, 3}), Tensor::zeros({x.size(0)})};
}

Tensor Flip::inverse(const Tensor& z, Pass&) const { return flip(z, {2, 3}); }

Emerging::Emerging(Index channels, const Random& random)
    : layers_(emerging_layers(channels, random)) {
  add_module("transformations", layers_);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

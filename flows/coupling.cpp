#include "flows/coupling.h"

#include <cmath>

#include "flows/density.h"
#include "ops/conv.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double logs_factor = 3, log_scale_range = 2;

// The tensor number `which` of a layer, uniform within 1 / sqrt(fan_in).
Tensor uniform(const Random& random, std::uint32_t which, const Shape& shape, Index fan_in) {
  const Real bound = 1 / std::sqrt(static_cast<Real>(fan_in));
  return (random.uniform({1, shape.size()}, which) * 2 - 1).reshape(shape) * bound;
}

Index even(Index channels) {
  if (channels < 2 || channels % 2 != 0)
    fail("coupling", "an even number of channels expected, to be halved, got ", channels);
  return channels;
}

}  // namespace

CouplingNet::CouplingNet(Index channels, Index width, const Random& random)
    : weight0_(add_parameter(
          "0.weight", uniform(random, 0, {width, even(channels) / 2, 3, 3}, channels / 2 * 9))),
      bias0_(add_parameter("0.bias", uniform(random, 1, {width}, channels / 2 * 9))),
      weight2_(add_parameter("2.weight", uniform(random, 2, {width, width, 1, 1}, width))),
      bias2_(add_parameter("2.bias", uniform(random, 3, {width}, width))),
      weight4_(add_parameter("4.weight", Tensor::zeros({channels, width, 3, 3}))),
      bias4_(add_parameter("4.bias", Tensor::zeros({channels}))),
      logs_(add_parameter("4.logs", Tensor::zeros({channels}))) {}

Var CouplingNet::operator()(const Var& x) const {
  const Var h0 = relu(conv2d(x, weight0_, bias0_, Conv2d::padded(1)));
  const Var h2 = relu(conv2d(h0, weight2_, bias2_));
  const Var scale = exp(logs_factor * reshape(logs_, {-1, 1, 1}));
  return conv2d(h2, weight4_, bias4_, Conv2d::padded(1)) * scale;
}

Coupling::Coupling(Index channels, Index width, const Random& random)
    : channels_(channels), net_(channels, width, random) {
  add_module("net", net_);
}

Coupling::Halves Coupling::split(const Var& x) const {
  if (x.rank() != 4 || x.size(1) != channels_)
    fail("coupling", "images with ", channels_, " channels expected, the shape is ", x.shape());
  const Index half = channels_ / 2;
  const Shape part{x.size(0), half, x.size(2), x.size(3)};
  const Var first = slice(x, 1, 0, half);
  const Var pairs = reshape(net_(first), Shape{part[0], half, 2, part[2], part[3]});
  const Var h = reshape(slice(pairs, 2, 0, 1), part), t = reshape(slice(pairs, 2, 1, 2), part);
  return {first, slice(x, 1, half, channels_), log_scale_range * tanh(h * (1 / log_scale_range)),
          t};
}

Out Coupling::forward(const Var& x, Pass&) const {
  const auto [first, second, log_scale, shift] = split(x);
  return {concat({first, second * exp(log_scale) + shift}, 1), sum_examples(log_scale)};
}

Tensor Coupling::inverse(const Tensor& z, Pass&) const {
  const NoGrad no_grad;
  const auto [first, second, log_scale, shift] = split(z);
  return concat({first, (second - shift) * exp(-log_scale)}, 1).value();
}

SplitPrior::SplitPrior(Index channels, Index width, const Random& random)
    : transform_(channels, width, random) {
  add_module("transform", transform_);
}

Out SplitPrior::forward(const Var& x, Pass& pass) const {
  const Out out = transform_.forward(x, pass);
  const Index channels = out.z.size(1);
  const Var leaving = slice(out.z, 1, channels / 2, channels);
  pass.factored_out.push_back(leaving.value());
  return {slice(out.z, 1, 0, channels / 2), out.logdet + StandardNormal().log_prob(leaving)};
}

Tensor SplitPrior::inverse(const Tensor& z, Pass& pass) const {
  Tensor left;
  if (!pass.factored_out.empty()) {
    left = std::move(pass.factored_out.back());
    pass.factored_out.pop_back();
  } else if (pass.latents) {
    left = pass.latents->draw(z.shape());
  } else {
    fail("split_prior", "the pass has nothing factored out to pop, and no latents to draw from");
  }
  return transform_.inverse(concat({z, left}, 1), pass);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

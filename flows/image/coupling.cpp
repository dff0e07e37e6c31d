#include "backflow/flows/image/coupling.h"

#include <cmath>

#include "backflow/engine/parallel.h"
#include "backflow/flows/density.h"
#include "backflow/ops/conv_net.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double logs_factor = 3;
constexpr Real log_scale_range = 2;

// The initial values of a layer's tensor number `which`, uniform within 1 / sqrt(fan_in).
Tensor uniform(const Random& random, std::uint32_t which, const Shape& shape, Index fan_in) {
  const Real bound = 1 / std::sqrt(static_cast<Real>(fan_in));
  return (random.uniform({1, shape.size()}, which) * 2 - 1).reshape(shape) * bound;
}

Index even(Index channels) {
  if (channels < 2 || channels % 2 != 0)
    fail("coupling", "an even number of channels expected, to be halved, got ", channels);
  return channels;
}

// ---- z2 = s x2 + t, in one pass ---------------------------------------------------------------

// Where planes that belong together begin: in x and z, one of the first half of the channels and
// one of the second; in h, the scale of the second one, behind which its shift lies; and the same
// plane in a tensor with half the channels.
struct Planes {
  Index image, first, second, h, half;
};

// Calls body(planes, pixels) for all of them.
template <class Body>
void for_each_plane(const Shape& x, const Body& body) {
  const Index half = x[1] / 2, pixels = x[2] * x[3];
  parallel_for(x[0], std::max<Index>(1, elements_per_chunk / std::max<Index>(1, half * pixels)),
               [&](Index image, Index end) {
                 for (; image < end; ++image)
                   for (Index c = 0; c < half; ++c) {
                     const Index plane = image * half + c, first = plane + image * half;
                     body(Planes{image, first * pixels, (first + half) * pixels, 2 * plane * pixels,
                                 plane * pixels},
                          pixels);
                   }
               });
}

// {z, logdet} of x and what the network made of its first half. Forward reads x and h and writes z
// and half as many log-scales; backward reads x, gz and those, and writes gx and gh.
std::array<Var, 2> affine(const Var& x, const Var& h) {
  const Tensor X = x.value(), H = h.value();
  Tensor Z = Tensor::empty(X.shape());
  Tensor log_scale = Tensor::empty({x.size(0), x.size(1) / 2, x.size(2), x.size(3)});
  for_each_plane(X.shape(),
                 [&, to = Z.mutable_data(), s = log_scale.mutable_data()](Planes at, Index pixels) {
                   const Real *u = H.data() + at.h, *t = u + pixels, *x2 = X.data() + at.second;
                   Real *z2 = to + at.second, *log_s = s + at.half;
                   std::copy_n(X.data() + at.first, pixels, to + at.first);
                   for (Index i = 0; i < pixels; ++i) {
                     log_s[i] = log_scale_range * vector_math::tanh(u[i] / log_scale_range);
                     z2[i] = x2[i] * vector_math::exp(log_s[i]) + t[i];
                   }
                 });
  return record("affine_coupling", {Z, sum_examples(log_scale)},
                joint_grad({x, h}, [X, log_scale](const Tensor& gz, const Tensor& gl) {
                  Tensor gx = Tensor::empty(X.shape()), gh = Tensor::empty(X.shape());
                  for_each_plane(X.shape(), [&, to = gx.mutable_data(), dh = gh.mutable_data()](
                                                Planes at, Index pixels) {
                    const Real *log_s = log_scale.data() + at.half, *x2 = X.data() + at.second;
                    const Real *g2 = gz.data() + at.second, g_logdet = gl[at.image];
                    Real *dx2 = to + at.second, *du = dh + at.h, *dt = du + pixels;
                    std::copy_n(gz.data() + at.first, pixels, to + at.first);
                    std::copy_n(g2, pixels, dt);
                    for (Index i = 0; i < pixels; ++i) {
                      const Real tanh = log_s[i] / log_scale_range;
                      dx2[i] = g2[i] * vector_math::exp(log_s[i]);
                      du[i] = (dx2[i] * x2[i] + g_logdet) * (1 - tanh * tanh);
                    }
                  });
                  return grads(gx, gh);
                }));
}

Tensor undo_affine(const Tensor& z, const Tensor& h) {
  Tensor x = z;
  for_each_plane(z.shape(), [&, to = x.mutable_data()](Planes at, Index pixels) {
    const Real *u = h.data() + at.h, *t = u + pixels, *z2 = z.data() + at.second;
    Real* x2 = to + at.second;
    for (Index i = 0; i < pixels; ++i)
      x2[i] = (z2[i] - t[i]) *
              vector_math::exp(-log_scale_range * vector_math::tanh(u[i] / log_scale_range));
  });
  return x;
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
  const Var scale = exp(logs_factor * logs_);  // of each output channel
  return conv_net(x,
                  {{weight0_, bias0_, Conv2d::padded(1)},
                   {weight2_, bias2_},
                   {weight4_ * reshape(scale, {-1, 1, 1, 1}), bias4_ * scale, Conv2d::padded(1)}});
}

ImageCoupling::ImageCoupling(Index channels, Index width, const Random& random)
    : channels_(channels), net_(channels, width, random) {
  add_module("net", net_);
}

// The network's output h for the first half of the channels.
Var ImageCoupling::scale_and_shift(const Var& x) const {
  if (x.rank() != 4 || x.size(1) != channels_)
    fail("coupling", "images with ", channels_, " channels expected, the shape is ", x.shape());
  return net_(slice(x, 1, 0, channels_ / 2));
}

Out ImageCoupling::forward(const Var& x, Pass&) const {
  const auto [z, logdet] = affine(x, scale_and_shift(x));
  return {z, logdet};
}

Tensor ImageCoupling::inverse(const Tensor& z, Pass&) const {
  const NoGrad no_grad;
  return undo_affine(z, scale_and_shift(z).value());
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

#include "backflow/ops/conv.h"

#include "backflow/engine/parallel.h"
#include "backflow/ops/conv_kernels.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

ConvGeometry::ConvGeometry(const Shape& x, const Shape& w, const Conv2d& options) : pad(options) {
  if (x.rank() != 4 || w.rank() != 4)
    fail("conv2d", "images (B, C, H, W) and kernels (O, C, K, L) expected: ", x, " and ", w);
  if (x[1] != w[1]) fail("conv2d", "channels differ: images ", x, ", kernels ", w);
  if (pad.stride < 1 || std::min({pad.top, pad.left, pad.bottom, pad.right}) < 0)
    fail("conv2d", "a positive stride and no negative padding expected");
  B = x[0], C = x[1], H = x[2], W = x[3], O = w[0], K = w[2], L = w[3];
  const Index rows = H + pad.top + pad.bottom - K, columns = W + pad.left + pad.right - L;
  if (K < 1 || L < 1 || rows < 0 || columns < 0)
    fail("conv2d", "kernels ", w, " do not fit the padded images of ", x);
  Ho = rows / pad.stride + 1, Wo = columns / pad.stride + 1;
}

void expect_shape(const Shape& found, const Shape& expected, const char* what) {
  if (!(found == expected)) fail("conv2d", what, " has the shape ", found, ", expected ", expected);
}

// One group after another, on this thread: their sum and the one that is added stay in its cache.
static void add_groups_here(Index images, Index group, Tensor& total,
                            const std::function<void(Index, Index, Real*)>& body) {
  Tensor part = Tensor::empty({total.size()});
  Real *const sum = total.mutable_data(), *const p = part.mutable_data();
  for (Index first = 0; first < images; first += group) {
    body(first, std::min(group, images - first), p);
    for (Index i = 0; i < part.size(); ++i) sum[i] += p[i];
  }
}

Tensor sum_over_groups(const Shape& shape, Index images,
                       const std::function<void(Index, Index, Real*)>& body) {
  Tensor total = Tensor::zeros(shape);
  const Index size = total.size(), group = (images + 7) / 8, groups = (images + group - 1) / group;
  if (InsideChunk::now() || threads() == 1) {
    add_groups_here(images, group, total, body);
    return total;
  }
  Tensor parts = Tensor::empty({groups, size});
  parallel_for(groups, 1, [&, p = parts.mutable_data()](Index g, Index end) {
    for (; g < end; ++g) body(g * group, std::min(group, images - g * group), p + g * size);
  });
  parallel_for(size, elements_per_chunk, [&, sum = total.mutable_data()](Index begin, Index end) {
    for (Index g = 0; g < groups; ++g)
      for (Index i = begin; i < end; ++i) sum[i] += parts[g * size + i];
  });
  return total;
}

void add_bias_to_image(const Real* bias, Index channels, Index pixels, Real* y) {
  for (Index c = 0; c < channels; ++c, y += pixels)
    for (Index i = 0; i < pixels; ++i) y[i] += bias[c];
}

namespace {

Tensor add_bias(Tensor y, const Real* bias, const ConvGeometry& g) {
  parallel_for(g.B, images_at_once, [&, p = y.mutable_data()](Index image, Index end) {
    for (; image < end; ++image)
      add_bias_to_image(bias, g.O, g.out_pixels(), p + image * g.out_size());
  });
  return y;
}

Tensor convolve(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvGeometry& g) {
  if (g.B * g.O * g.out_pixels() == 0) return Tensor::empty(g.output());
  if (has_outputs_in_lanes(g)) return lanes_conv(x, w, bias.data(), g);
  if (g.direct()) return direct_conv(x, w, bias, g);
  if (!g.unfolds_output()) return unfolded_conv(x, w, bias.data(), g);
  const Tensor flipped = flip_kernel(w);
  const ConvGeometry adjoint(g.output(), flipped.shape(), g.flipped());
  return add_bias(unfolded_input_gradient(x, flipped, g.output(), adjoint), bias.data(), g);
}

}  // namespace

Tensor flip_kernel(const Tensor& w) { return permute(flip(w, {2, 3}), {1, 0, 2, 3}); }

Tensor conv2d(const Tensor& x, const Tensor& w, const Conv2d& options) {
  const ConvGeometry g(x.shape(), w.shape(), options);
  return convolve(x, w, Tensor::zeros({g.O}), g);
}

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b, const Conv2d& options) {
  const ConvGeometry g(x.shape(), w.shape(), options);
  expect_shape(b.shape(), {g.O}, "the bias");
  return convolve(x, w, b, g);
}

Tensor conv2d_input_gradient(const Tensor& d, const Tensor& w, const Shape& x,
                             const Conv2d& options) {
  const ConvGeometry g(x, w.shape(), options);
  expect_shape(d.shape(), g.output(), "the gradient");
  if (x.size() == 0 || d.size() == 0) return Tensor::zeros(x);
  const Shape flipped{g.C, g.O, g.K, g.L};
  const bool by_flipping =
      g.direct() || g.unfolds_output() ||
      (g.can_flip() && has_outputs_in_lanes(ConvGeometry(g.output(), flipped, g.flipped())));
  if (by_flipping) return conv2d(d, flip_kernel(w), g.flipped());
  return unfolded_input_gradient(d, w, x, g);
}

Tensor conv2d_weight_gradient(const Tensor& d, const Tensor& x, const Shape& w,
                              const Conv2d& options) {
  const ConvGeometry g(x.shape(), w, options);
  expect_shape(d.shape(), g.output(), "the gradient");
  if (d.size() == 0 || w.size() == 0) return Tensor::zeros(w);
  if (has_gradient_in_lanes(g)) return lanes_weight_gradient(d, x, g);
  if (g.direct()) return direct_weight_gradient(d, x, g);
  if (!g.unfolds_output()) return unfolded_weight_gradient(d, x, g);
  const ConvGeometry adjoint(d.shape(), {g.C, g.O, g.K, g.L}, g.flipped());
  return flip_kernel(unfolded_weight_gradient(x, d, adjoint));
}

static Edge input_edge(const Var& x, const Var& w, const Conv2d& options) {
  return grad(x, [W = w.value(), shape = x.shape(), options](const Tensor& g) {
    return conv2d_input_gradient(g, W, shape, options);
  });
}

static Edge weight_edge(const Var& x, const Var& w, const Conv2d& options) {
  return grad(w, [X = x.value(), shape = w.shape(), options](const Tensor& g) {
    return conv2d_weight_gradient(g, X, shape, options);
  });
}

Var conv2d(const Var& x, const Var& w, const Conv2d& options) {
  return record("conv2d", conv2d(x.value(), w.value(), options), input_edge(x, w, options),
                weight_edge(x, w, options));
}

static std::array<Tensor, 2> weight_and_bias_gradient(const Tensor& d, const Tensor& x,
                                                      const Shape& w, const Conv2d& options) {
  const ConvGeometry g(x.shape(), w, options);
  const bool together = !g.unfolds_output() && !has_gradient_in_lanes(g);
  if (d.size() > 0 && w.size() > 0 && together)
    return (g.direct() ? direct_weight_and_bias_gradient : unfolded_weight_and_bias_gradient)(d, x,
                                                                                              g);
  return {conv2d_weight_gradient(d, x, w, options), sum(d, {0, 2, 3})};
}

Var conv2d(const Var& x, const Var& w, const Var& b, const Conv2d& options) {
  const auto gradient = [X = x.value(), shape = w.shape(), options](const Tensor& g) {
    return weight_and_bias_gradient(g, X, shape, options);
  };
  return record("conv2d", conv2d(x.value(), w.value(), b.value(), options),
                input_edge(x, w, options), joint_grad({w, b}, gradient));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

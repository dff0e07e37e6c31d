// Few channels: the planes of a group of images are laid out one after another with zeros between
// their rows, so that the input pixel of a tap is always the same distance away. Then a convolution
// is a sum over taps of a weight times a shifted copy of one long array: unit strides, whole vector
// registers, and no care for edges. What falls between the rows is not copied back.
//
// Many channels: im2col and one product per image. It copies each input pixel once per tap, so the
// side with fewer channels is the one to unfold: with stride 1 a convolution is the adjoint of the
// convolution with the flipped kernel, which unfolds its output.
//
// Either way groups of images are the tasks, cut by shape alone.
#include "ops/conv.h"

#include <cstring>

#include "engine/parallel.h"
#include "ops/matmul.h"
#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct Geometry {
  Index B, C, H, W;  // x
  Index O, K, L;     // w
  Index Ho, Wo;      // y
  Conv2d pad;

  Geometry(const Shape& x, const Shape& w, const Conv2d& options) : pad(options) {
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

  Index taps() const { return K * L; }
  Index in_pixels() const { return H * W; }
  Index out_pixels() const { return Ho * Wo; }
  Shape output() const { return {B, O, Ho, Wo}; }
  bool can_flip() const {
    return pad.stride == 1 && std::max(pad.top, pad.bottom) < K &&
           std::max(pad.left, pad.right) < L;
  }
  Conv2d flipped() const {
    return {1, K - 1 - pad.top, L - 1 - pad.left, K - 1 - pad.bottom, L - 1 - pad.right};
  }
  bool direct() const { return can_flip() && Ho == H && Wo == W && C * O <= 512; }
  // Copies nothing for a kernel of one tap.
  bool pointwise() const { return taps() == 1 && pad.stride == 1 && Ho == H && Wo == W; }
};

// An even number of equal groups of at most `most` images.
Index group_size(Index images, Index most) {
  const Index pairs = (images + 2 * most - 1) / (2 * most);
  return std::max<Index>(1, (images + 2 * pairs - 1) / std::max<Index>(1, 2 * pairs));
}

// Adds up one tensor per group of images, in order.
template <class Body>  // body(first image, count, sum)
Tensor sum_over_groups(const Shape& shape, Index images, Index group, const Body& body) {
  Tensor total = Tensor::zeros(shape);
  const Index size = total.size(), groups = (images + group - 1) / group;
  Tensor parts = Tensor::empty({groups, size});
  parallel_for(groups, 1, [&, p = parts.mutable_data()](Index g, Index end) {
    for (; g < end; ++g) body(g * group, std::min(group, images - g * group), p + g * size);
  });
  Real* sum = total.mutable_data();
  for (Index g = 0; g < groups; ++g)
    for (Index i = 0; i < size; ++i) sum[i] += parts[g * size + i];
  return total;
}

// ---- Few channels ---------------------------------------------------------------------------

typedef Real Pack __attribute__((vector_size(64)));
constexpr Index lanes = 64 / sizeof(Real);
// How many packs the registers hold beside what is being loaded.
#ifdef __AVX512F__
constexpr int most_outputs = 8, accumulators = 16;
#else
constexpr int most_outputs = 4, accumulators = 5;
#endif

Pack load(const Real* p) {
  Pack pack;
  std::memcpy(&pack, p, sizeof pack);
  return pack;
}
void store(Real* p, const Pack& pack) { std::memcpy(p, &pack, sizeof pack); }
Real total(const Pack& pack) {
  Real sum = 0;
  for (Index i = 0; i < lanes; ++i) sum += pack[i];
  return sum;
}
Index whole_packs(Index n) { return (n + lanes - 1) / lanes * lanes; }

// Calls f with the compile-time constant n, 1 <= n <= most.
template <int most, class F>
void with_constant(Index n, const F& f) {
  if (n == most) {
    f(std::integral_constant<int, most>());
  } else if constexpr (most > 1) {
    with_constant<most - 1>(n, f);
  }
}

// Where the pixels of a group of images lie: [channel][image][row][column], each row followed by
// zeros that serve as its right and the next row's left margin, each image by rows of zeros.
struct Layout {
  Index H, W, row, image, margin, size, channel;

  Layout(const Geometry& g, Index images)
      : H(g.H),
        W(g.W),
        row(W + std::max(g.pad.left, g.pad.right)),
        image(row * (H + std::max(g.pad.top, g.pad.bottom))),
        margin(std::max(g.pad.top, g.pad.bottom) * row + std::max(g.pad.left, g.pad.right)),
        size(whole_packs(images * image)),
        channel(2 * margin + size + accumulators * lanes) {}

  // Of images (.., channels, H, W).
  Buffer spread(const Real* from, Index images, Index channels) const {
    Buffer planes(channels * channel);
    std::fill_n(planes.data(), channels * channel, Real(0));
    for (Index i = 0; i < images; ++i)
      for (Index c = 0; c < channels; ++c)
        for (Index r = 0; r < H; ++r, from += W)
          std::copy_n(from, W, planes.data() + c * channel + margin + i * image + r * row);
    return planes;
  }
};

// out[o][p] = bias[o] + sum over taps of w[tap][o] in[p + offset[tap]], some outputs at once.
template <int outputs>
void correlate(const Real* in, const std::vector<Index>& offsets, const Real* w, const Real* bias,
               Index n, Real* out, Index out_step) {
  constexpr int packs = std::max(1, std::min(4, accumulators / outputs));
  for (Index p = 0; p < n; p += packs * lanes) {
    Pack sum[outputs][packs];
    for (int o = 0; o < outputs; ++o)
      for (int k = 0; k < packs; ++k) sum[o][k] = Pack{} + bias[o];
    const Real* weight = w;
    for (const Index offset : offsets) {
      Pack x[packs];
      for (int k = 0; k < packs; ++k) x[k] = load(in + p + offset + k * lanes);
      for (int o = 0; o < outputs; ++o)
        for (int k = 0; k < packs; ++k) sum[o][k] += weight[o] * x[k];
      weight += outputs;
    }
    for (int o = 0; o < outputs; ++o)
      for (int k = 0; k < packs; ++k) store(out + o * out_step + p + k * lanes, sum[o][k]);
  }
}

constexpr Index most_images = 16;

Tensor direct_conv(const Tensor& x, const Tensor& w, const Real* bias, const Geometry& g) {
  Tensor y = Tensor::empty(g.output());
  const Index group = group_size(g.B, most_images), taps = g.C * g.taps();
  const Layout layout(g, group);
  std::vector<Index> offsets;
  for (Index c = 0; c < g.C; ++c)
    for (Index u = 0; u < g.K; ++u)
      for (Index v = 0; v < g.L; ++v)
        offsets.push_back(c * layout.channel + (u - g.pad.top) * layout.row + v - g.pad.left);
  std::vector<Real> weights(g.O * taps);  // blocks of (taps, outputs of the block)
  for (Index o = 0; o < g.O; ++o) {
    const Index first = o / most_outputs * most_outputs;
    const Index width = std::min<Index>(most_outputs, g.O - first);
    for (Index t = 0; t < taps; ++t)
      weights[first * taps + t * width + o - first] = w[o * taps + t];
  }
  parallel_for(g.B, group, [&, out = y.mutable_data()](Index image, Index end) {
    const Index step = layout.size + accumulators * lanes;
    const Buffer in = layout.spread(x.data() + image * g.C * g.in_pixels(), end - image, g.C);
    const Buffer flat(most_outputs * step);
    for (Index first = 0; first < g.O; first += most_outputs) {
      const Index width = std::min<Index>(most_outputs, g.O - first);
      with_constant<most_outputs>(width, [&](auto outputs) {
        correlate<outputs>(in.data() + layout.margin, offsets, weights.data() + first * taps,
                           bias + first, (end - image) * layout.image, flat.data(), step);
      });
      for (Index i = image; i < end; ++i)
        for (Index o = 0; o < width; ++o)
          for (Index row = 0; row < g.H; ++row)
            std::copy_n(flat.data() + o * step + (i - image) * layout.image + row * layout.row, g.W,
                        out + ((i * g.O + first + o) * g.H + row) * g.W);
    }
  });
  return y;
}

// sums[o][v] = sum over p of d[o][p] x[p + v]: `outputs` planes of d, `width` taps of a row.
template <int outputs, int width>
void accumulate(const Real* d, Index d_step, const Real* x, Index n, Real* sums, Index sums_step) {
  Pack sum[outputs][width] = {};
  for (Index p = 0; p < n; p += lanes) {
    Pack shifted[width];
    for (int v = 0; v < width; ++v) shifted[v] = load(x + p + v);
    for (int o = 0; o < outputs; ++o) {
      const Pack row = load(d + o * d_step + p);
      for (int v = 0; v < width; ++v) sum[o][v] += row * shifted[v];
    }
  }
  for (int o = 0; o < outputs; ++o)
    for (int v = 0; v < width; ++v) sums[o * sums_step + v] = total(sum[o][v]);
}

Tensor direct_weight_gradient(const Tensor& d, const Tensor& x, const Geometry& g) {
  constexpr int most_width = 3, outputs_at_once = most_outputs;
  const Index group = group_size(g.B, most_images);
  const Layout layout(g, group);
  const auto part = [&](Index image, Index count, Real* dw) {
    const Buffer in = layout.spread(x.data() + image * g.C * g.in_pixels(), count, g.C);
    const Buffer out = layout.spread(d.data() + image * g.O * g.in_pixels(), count, g.O);
    const auto block = [&](Index o, Index c, Index u, Index v) {
      const Index offset = c * layout.channel + (u - g.pad.top) * layout.row + v - g.pad.left;
      with_constant<outputs_at_once>(std::min<Index>(outputs_at_once, g.O - o), [&](auto outputs) {
        with_constant<most_width>(std::min<Index>(most_width, g.L - v), [&](auto width) {
          accumulate<outputs, width>(out.data() + layout.margin + o * layout.channel,
                                     layout.channel, in.data() + layout.margin + offset,
                                     count * layout.image,
                                     dw + (o * g.C + c) * g.taps() + u * g.L + v, g.C * g.taps());
        });
      });
    };
    for (Index o = 0; o < g.O; o += outputs_at_once)
      for (Index c = 0; c < g.C; ++c)
        for (Index u = 0; u < g.K; ++u)
          for (Index v = 0; v < g.L; v += most_width) block(o, c, u, v);
  };
  return sum_over_groups({g.O, g.C, g.K, g.L}, g.B, group, part);
}

// ---- Many channels --------------------------------------------------------------------------

// Calls body(pixels of x, pixels of the column, count) for each run of output pixels of tap (u, v).
template <class Body>
void for_each_run(const Geometry& g, Index u, Index v, const Body& body) {
  const Index s = g.pad.stride;
  const Index first = std::max<Index>(0, (g.pad.left - v + s - 1) / s);
  const Index last = std::min(g.Wo, (g.W - 1 + g.pad.left - v + s) / s);
  for (Index i = 0; i < g.Ho; ++i) {
    const Index row = i * s + u - g.pad.top;
    if (row >= 0 && row < g.H && first < last)
      body(row * g.W + first * s + v - g.pad.left, i * g.Wo + first, last - first);
  }
}

// columns[c, u, v][i, j] = x[c][i s + u - top][j s + v - left], 0 outside.
void unfold(const Real* x, const Geometry& g, Real* columns) {
  std::fill_n(columns, g.C * g.taps() * g.out_pixels(), Real(0));
  for (Index c = 0; c < g.C; ++c, x += g.in_pixels())
    for (Index tap = 0; tap < g.taps(); ++tap, columns += g.out_pixels())
      for_each_run(g, tap / g.L, tap % g.L, [&](Index from, Index to, Index count) {
        if (g.pad.stride == 1) {
          std::copy_n(x + from, count, columns + to);
        } else {
          for (Index j = 0; j < count; ++j) columns[to + j] = x[from + j * g.pad.stride];
        }
      });
}

// Its adjoint.
void fold(const Real* columns, const Geometry& g, Real* x) {
  std::fill_n(x, g.C * g.in_pixels(), Real(0));
  for (Index c = 0; c < g.C; ++c, x += g.in_pixels())
    for (Index tap = 0; tap < g.taps(); ++tap, columns += g.out_pixels())
      for_each_run(g, tap / g.L, tap % g.L, [&](Index to, Index from, Index count) {
        for (Index j = 0; j < count; ++j) x[to + j * g.pad.stride] += columns[from + j];
      });
}

class Unfolded {
 public:
  explicit Unfolded(const Geometry& g) : g_(g), columns_(g.pointwise() ? 0 : rows() * pixels()) {}

  MatrixView operator()(const Real* x) {
    if (g_.pointwise()) return matrix(x, rows(), pixels());
    unfold(x, g_, columns_.data());
    return matrix(columns_.data(), rows(), pixels());
  }
  // x = the adjoint of unfolding, of the product a b.
  void fold_product(const MatrixView& a, const MatrixView& b, Real* x) {
    product(g_.pointwise() ? x : columns_.data(), pixels(), 0, a, b);
    if (!g_.pointwise()) fold(columns_.data(), g_, x);
  }

 private:
  Index rows() const { return g_.C * g_.taps(); }
  Index pixels() const { return g_.out_pixels(); }
  const Geometry& g_;
  Buffer columns_;
};

constexpr Index images_at_once = 4;

Tensor unfolded_conv(const Tensor& x, const Tensor& w, const Real* bias, const Geometry& g) {
  Tensor y = Tensor::empty(g.output());
  const MatrixView W = matrix(w.data(), g.O, g.C * g.taps());
  parallel_for(g.B, images_at_once, [&, out = y.mutable_data()](Index image, Index end) {
    Unfolded columns(g);
    for (; image < end; ++image) {
      Real* to = out + image * g.O * g.out_pixels();
      for (Index o = 0; o < g.O; ++o) std::fill_n(to + o * g.out_pixels(), g.out_pixels(), bias[o]);
      product(to, g.out_pixels(), 1, W, columns(x.data() + image * g.C * g.in_pixels()));
    }
  });
  return y;
}

Tensor unfolded_input_gradient(const Tensor& d, const Tensor& w, const Shape& x,
                               const Geometry& g) {
  Tensor dx = Tensor::empty(x);
  const MatrixView W = matrix(w.data(), g.O, g.C * g.taps());
  parallel_for(g.B, images_at_once, [&, to = dx.mutable_data()](Index image, Index end) {
    Unfolded columns(g);
    for (; image < end; ++image)
      columns.fold_product(transposed(W),
                           matrix(d.data() + image * g.O * g.out_pixels(), g.O, g.out_pixels()),
                           to + image * g.C * g.in_pixels());
  });
  return dx;
}

Tensor unfolded_weight_gradient(const Tensor& d, const Tensor& x, const Geometry& g) {
  const auto part = [&](Index image, Index count, Real* dw) {
    Unfolded columns(g);
    for (Index i = 0; i < count; ++i, ++image)
      product(dw, g.C * g.taps(), i == 0 ? 0 : 1,
              matrix(d.data() + image * g.O * g.out_pixels(), g.O, g.out_pixels()),
              transposed(columns(x.data() + image * g.C * g.in_pixels())));
  };
  constexpr Index groups = 8;  // each has a sum of its own
  return sum_over_groups({g.O, g.C, g.K, g.L}, g.B, (g.B + groups - 1) / groups, part);
}

// ---- Which one ------------------------------------------------------------------------------

bool unfold_output(const Geometry& g) { return g.O < g.C && g.can_flip() && !g.pointwise(); }

Tensor add_bias(Tensor y, const Real* bias, const Geometry& g) {
  parallel_for(g.B, images_at_once, [&, p = y.mutable_data()](Index image, Index end) {
    for (Index plane = image * g.O; plane < end * g.O; ++plane)
      for (Index i = 0; i < g.out_pixels(); ++i) p[plane * g.out_pixels() + i] += bias[plane % g.O];
  });
  return y;
}

Tensor convolve(const Tensor& x, const Tensor& w, const Real* bias, const Geometry& g) {
  if (g.B * g.O * g.out_pixels() == 0) return Tensor::empty(g.output());
  if (g.direct()) return direct_conv(x, w, bias, g);
  if (!unfold_output(g)) return unfolded_conv(x, w, bias, g);
  const Tensor flipped = flip_kernel(w);
  const Geometry adjoint(g.output(), flipped.shape(), g.flipped());
  return add_bias(unfolded_input_gradient(x, flipped, g.output(), adjoint), bias, g);
}

void expect_shape(const Shape& found, const Shape& expected, const char* what) {
  if (!(found == expected)) fail("conv2d", what, " has the shape ", found, ", expected ", expected);
}

}  // namespace

Tensor flip_kernel(const Tensor& w) { return permute(flip(w, {2, 3}), {1, 0, 2, 3}); }

Tensor conv2d(const Tensor& x, const Tensor& w, const Conv2d& options) {
  const Geometry g(x.shape(), w.shape(), options);
  return convolve(x, w, Tensor::zeros({g.O}).data(), g);
}

Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b, const Conv2d& options) {
  const Geometry g(x.shape(), w.shape(), options);
  expect_shape(b.shape(), {g.O}, "the bias");
  return convolve(x, w, b.data(), g);
}

Tensor conv2d_input_gradient(const Tensor& d, const Tensor& w, const Shape& x,
                             const Conv2d& options) {
  const Geometry g(x, w.shape(), options);
  expect_shape(d.shape(), g.output(), "the gradient");
  if (x.size() == 0 || d.size() == 0) return Tensor::zeros(x);
  if (g.direct() || unfold_output(g)) return conv2d(d, flip_kernel(w), g.flipped());
  return unfolded_input_gradient(d, w, x, g);
}

Tensor conv2d_weight_gradient(const Tensor& d, const Tensor& x, const Shape& w,
                              const Conv2d& options) {
  const Geometry g(x.shape(), w, options);
  expect_shape(d.shape(), g.output(), "the gradient");
  if (d.size() == 0 || w.size() == 0) return Tensor::zeros(w);
  if (g.direct()) return direct_weight_gradient(d, x, g);
  if (!unfold_output(g)) return unfolded_weight_gradient(d, x, g);
  const Geometry adjoint(d.shape(), {g.C, g.O, g.K, g.L}, g.flipped());
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

Var conv2d(const Var& x, const Var& w, const Var& b, const Conv2d& options) {
  return record("conv2d", conv2d(x.value(), w.value(), b.value(), options),
                input_edge(x, w, options), weight_edge(x, w, options), grad(b, [](const Tensor& g) {
                  return sum(g, {0, 2, 3});
                }));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

// Few channels: the planes of a group of images are laid out one after another with zeros between
// their rows, so that the input pixel of a tap is always the same distance away. Then a convolution
// is a sum over taps of a weight times a shifted copy of one long array: unit strides, whole vector
// registers, and no care for edges. What falls between the rows is not copied back.
#include <cstring>

#include "engine/parallel.h"
#include "ops/conv_kernels.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// An even number of equal groups of at most `most` images.
Index group_size(Index images, Index most) {
  const Index pairs = (images + 2 * most - 1) / (2 * most);
  return std::max<Index>(1, (images + 2 * pairs - 1) / std::max<Index>(1, 2 * pairs));
}

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
Real total(const Pack& pack) {  // in halves: a chain of additions would wait for each
  Real sum[lanes];
  std::memcpy(sum, &pack, sizeof sum);
  for (Index half = lanes / 2; half > 0; half /= 2)
    for (Index i = 0; i < half; ++i) sum[i] += sum[i + half];
  return sum[0];
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

// Rows shorter than a call of memcpy() is long.
void copy_rows(const Real* from, Index from_step, Real* to, Index to_step, Index rows,
               Index width) {
  constexpr int most_inlined = 32;
  const auto copy = [=](auto count) {
    for (Index r = 0; r < rows; ++r)
      std::memcpy(to + r * to_step, from + r * from_step, count * sizeof(Real));
  };
  if (width > most_inlined) return copy(width);
  with_constant<most_inlined>(width, copy);
}

// Where the pixels of a group of images lie: [channel][image][row][column], each row followed by
// zeros that serve as its right and the next row's left margin, each image by rows of zeros.
struct Layout {
  Index H, W, row, image, margin, size, channel;

  Layout(const ConvGeometry& g, Index images)
      : H(g.H),
        W(g.W),
        row(W + std::max(g.pad.left, g.pad.right)),
        image(row * (H + std::max(g.pad.top, g.pad.bottom))),
        margin(std::max(g.pad.top, g.pad.bottom) * row + std::max(g.pad.left, g.pad.right)),
        size(whole_packs(images * image)),
        channel(2 * margin + size + accumulators * lanes) {}

  Index of(Index channels) const { return channels * channel; }  // Reals

  // Of images (.., channels, H, W).
  void spread(const Real* from, Index images, Index channels, Real* planes) const {
    std::fill_n(planes, of(channels), Real(0));
    for (Index i = 0; i < images; ++i)
      for (Index c = 0; c < channels; ++c, from += H * W)
        copy_rows(from, W, planes + c * channel + margin + i * image, row, H, W);
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

}  // namespace

Tensor direct_conv(const Tensor& x, const Tensor& w, const Real* bias, const ConvGeometry& g) {
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
    const Scratch in(layout.of(g.C)), flat(most_outputs * step);
    layout.spread(x.data() + image * g.C * g.in_pixels(), end - image, g.C, in.data());
    for (Index first = 0; first < g.O; first += most_outputs) {
      const Index width = std::min<Index>(most_outputs, g.O - first);
      with_constant<most_outputs>(width, [&](auto outputs) {
        correlate<outputs>(in.data() + layout.margin, offsets, weights.data() + first * taps,
                           bias + first, (end - image) * layout.image, flat.data(), step);
      });
      for (Index i = image; i < end; ++i)
        for (Index o = 0; o < width; ++o)
          copy_rows(flat.data() + o * step + (i - image) * layout.image, layout.row,
                    out + (i * g.O + first + o) * g.in_pixels(), g.W, g.H, g.W);
    }
  });
  return y;
}

Tensor direct_weight_gradient(const Tensor& d, const Tensor& x, const ConvGeometry& g) {
  constexpr int most_width = 3, outputs_at_once = most_outputs;
  const Index group = group_size(g.B, most_images);
  const Layout layout(g, group);
  const auto part = [&](Index image, Index count, Real* dw) {
    const Scratch in(layout.of(g.C)), out(layout.of(g.O));
    layout.spread(x.data() + image * g.C * g.in_pixels(), count, g.C, in.data());
    layout.spread(d.data() + image * g.O * g.in_pixels(), count, g.O, out.data());
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

}  // namespace backflow::inline BACKFLOW_PRECISION

// Few channels: the planes of a group of images are laid out one after another with zeros between
// their rows, so that the input pixel of a tap is always the same distance away. Then a convolution
// is a sum over taps of a weight times a shifted copy of one long array: unit strides, whole vector
// registers, and no care for edges. What falls between the rows is not copied back.
#include <cstring>

#include "backflow/engine/parallel.h"
#include "backflow/ops/conv_kernels.h"
#include "backflow/ops/workspace.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

typedef Real Pack __attribute__((vector_size(64)));
constexpr Index lanes = 64 / sizeof(Real);
// How many packs the registers hold beside what is being loaded.
#ifdef __AVX512F__
constexpr int most_outputs = 8, accumulators = 16, gradient_accumulators = 24;
#else
constexpr int most_outputs = 4, accumulators = 5, gradient_accumulators = 5;
#endif

Pack load(const Real* p) {
  Pack pack;
  std::memcpy(&pack, p, sizeof pack);
  return pack;
}
void store(Real* p, const Pack& pack) { std::memcpy(p, &pack, sizeof pack); }
// The sum of all lanes: halves are added until two lanes are left.
template <std::size_t bytes = sizeof(Pack), class Lanes = Pack>
Real total(const Lanes& x) {
  if constexpr (bytes == 2 * sizeof(Real)) {
    return x[0] + x[1];
  } else {
    typedef Real Half __attribute__((vector_size(bytes / 2)));
    Half low, high;
    std::memcpy(&low, &x, sizeof low);
    std::memcpy(&high, reinterpret_cast<const char*>(&x) + sizeof low, sizeof high);
    return total<bytes / 2, Half>(low + high);
  }
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

// For short rows: the copy is inlined, since a call of memcpy() takes longer than such a row.
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

// How many images fit a part of the first cache, with so many planes of so many Reals each.
Index images_in_cache(Index planes, Index plane) {
  constexpr Index bytes = 24 * 1024, most = 16;
  const Index image = planes * plane * static_cast<Index>(sizeof(Real));
  return std::clamp<Index>(bytes / std::max<Index>(1, image), 1, most);
}

// Where the pixels of some images lie: [channel][image][row][column], each row followed by zeros
// that serve as its right and the next row's left margin, each image by rows of zeros. Planes begin
// at whole packs: loads across a cache line take twice as long.
struct PlaneLayout {
  Index H, W, row, image, margin, size, channel;

  PlaneLayout(const ConvGeometry& g, Index images)
      : H(g.H),
        W(g.W),
        row(W + std::max(g.pad.left, g.pad.right)),
        image(row * (H + std::max(g.pad.top, g.pad.bottom))),
        margin(whole_packs(std::max(g.pad.top, g.pad.bottom) * row +
                           std::max(g.pad.left, g.pad.right))),
        size(whole_packs(images * image)),
        channel(2 * margin + size + accumulators * lanes) {}

  // How many Reals so many channels take.
  Index reals_of(Index channels) const { return channels * channel; }

  // Lays images (.., channels, H, W) out so.
  void spread(const Real* from, Index images, Index channels, Real* planes) const {
    std::fill_n(planes, reals_of(channels), Real(0));
    for (Index i = 0; i < images; ++i)
      for (Index c = 0; c < channels; ++c, from += H * W)
        copy_rows(from, W, planes + c * channel + margin + i * image, row, H, W);
  }
  // How far from an output pixel the input pixel of each tap (c, u, v) is.
  std::vector<Index> tap_offsets(const ConvGeometry& g) const {
    std::vector<Index> offsets;
    for (Index c = 0; c < g.C; ++c)
      for (Index u = 0; u < g.K; ++u)
        for (Index v = 0; v < g.L; ++v)
          offsets.push_back(c * channel + (u - g.pad.top) * row + v - g.pad.left);
    return offsets;
  }
};

// out[o][p] = bias[o] + sum over taps of w[tap][o] in[p + offset[tap]], some outputs at once. Each
// load of `in` serves all of them: 8 outputs take 16 multiply-adds of whole packs for 2 loads.
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

// sums[o][tap] += d[o][p] x[p + offset[tap]] for the p of each lane, some outputs and taps at once.
// The lanes are added up at the very end. 8 outputs and 3 taps take 24 multiply-adds for 11 loads,
// of which 3 cross cache lines.
template <int outputs>
void accumulate(const Real* d, Index d_step, const Real* x, const std::vector<Index>& offsets,
                Index n, Pack* sums) {
  constexpr int width = std::max(1, std::min(9, gradient_accumulators / outputs));
  const Index taps = std::ssize(offsets);
  for (Index tap = 0; tap < taps; tap += width) {
    const Real* from[width];  // behind the last tap, the last once more
    for (Index t = 0; t < width; ++t) from[t] = x + offsets[std::min(tap + t, taps - 1)];
    Pack sum[outputs][width] = {};
    for (Index p = 0; p < n; p += lanes) {
      Pack shifted[width];
      for (int t = 0; t < width; ++t) shifted[t] = load(from[t] + p);
      for (int o = 0; o < outputs; ++o) {
        const Pack row = load(d + o * d_step + p);
        for (int t = 0; t < width; ++t) sum[o][t] += row * shifted[t];
      }
    }
    for (int o = 0; o < outputs; ++o)
      for (Index t = 0; t < width && tap + t < taps; ++t) sums[o * taps + tap + t] += sum[o][t];
  }
}

// Blocks of (taps, outputs of the block).
std::vector<Real> in_blocks(const Tensor& w, Index outputs, Index taps) {
  std::vector<Real> blocks(outputs * taps);
  for (Index o = 0; o < outputs; ++o) {
    const Index first = o / most_outputs * most_outputs;
    const Index width = std::min<Index>(most_outputs, outputs - first);
    for (Index t = 0; t < taps; ++t) blocks[first * taps + t * width + o - first] = w[o * taps + t];
  }
  return blocks;
}

// Calls body(first output, constant number of outputs) for each block of outputs.
template <class Body>
void for_each_block(Index outputs, const Body& body) {
  for (Index first = 0; first < outputs; first += most_outputs)
    with_constant<most_outputs>(std::min<Index>(most_outputs, outputs - first),
                                [&](auto count) { body(first, count); });
}

}  // namespace

Tensor direct_conv(const Tensor& x, const Tensor& w, const Real* bias, const ConvGeometry& g) {
  Tensor y = Tensor::empty(g.output());
  const Index taps = g.C * g.taps();
  const Index group = images_in_cache(g.C + most_outputs, PlaneLayout(g, 1).image);
  const PlaneLayout layout(g, group);
  const std::vector<Index> offsets = layout.tap_offsets(g);
  const std::vector<Real> weights = in_blocks(w, g.O, taps);
  parallel_for(g.B, group, [&, out = y.mutable_data()](Index image, Index end) {
    const Index step = layout.size + accumulators * lanes, n = (end - image) * layout.image;
    const Workspace in(layout.reals_of(g.C)), flat(most_outputs * step);
    layout.spread(x.data() + image * g.C * g.in_pixels(), end - image, g.C, in.data());
    for_each_block(g.O, [&](Index first, auto outputs) {
      correlate<outputs>(in.data() + layout.margin, offsets, weights.data() + first * taps,
                         bias + first, n, flat.data(), step);
      for (Index i = image; i < end; ++i)
        for (Index o = 0; o < outputs; ++o)
          copy_rows(flat.data() + o * step + (i - image) * layout.image, layout.row,
                    out + (i * g.O + first + o) * g.in_pixels(), g.W, g.H, g.W);
    });
  });
  return y;
}

Tensor direct_weight_gradient(const Tensor& d, const Tensor& x, const ConvGeometry& g) {
  const Index taps = g.C * g.taps();
  // Images: so many share the cost of fetching sums. A part of the sums has no more than an eighth.
  const Index together = std::clamp<Index>((g.B + 7) / 8, 1, 16);
  const PlaneLayout layout(g, together);
  const std::vector<Index> offsets = layout.tap_offsets(g);
  const auto part = [&](Index image, Index count, Real* dw) {
    const Workspace in(layout.reals_of(g.C)), out(layout.reals_of(g.O)),
        lane_sums(g.O * taps * lanes);
    Pack* sums = reinterpret_cast<Pack*>(lane_sums.data());
    std::fill_n(sums, g.O * taps, Pack{});
    for (const Index end = image + count; image < end; image += together) {
      const Index images = std::min(together, end - image);
      layout.spread(x.data() + image * g.C * g.in_pixels(), images, g.C, in.data());
      layout.spread(d.data() + image * g.O * g.in_pixels(), images, g.O, out.data());
      for_each_block(g.O, [&](Index first, auto outputs) {
        accumulate<outputs>(out.data() + layout.margin + first * layout.channel, layout.channel,
                            in.data() + layout.margin, offsets, images * layout.image,
                            sums + first * taps);
      });
    }
    for (Index i = 0; i < g.O * taps; ++i) dw[i] = total(sums[i]);
  };
  return sum_over_groups({g.O, g.C, g.K, g.L}, g.B, part);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

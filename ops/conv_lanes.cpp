// Many outputs: those of a pixel are the lanes of some packs, and stay in registers while all taps
// of all channels are added up. A tap's weights are loaded once for a run of neighbouring pixels,
// and each input pixel, one number, is multiplied by them. Nothing is unfolded: the only copies are
// the input with its margins of zeros, and the outputs, which come out pixel by pixel.
//
// The idea is that of oneDNN's and LIBXSMM's convolutions (Georganas et al., "Anatomy of
// high-performance deep learning convolutions on SIMD architectures", SC 2018).
#include "backflow/engine/parallel.h"
#include "backflow/ops/conv_kernels.h"
#include "backflow/ops/packs.h"
#include "backflow/ops/shape.h"
#include "backflow/ops/transpose_block.h"
#include "backflow/ops/workspace.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Index lanes = lanes_of_register<Real>;
using Register = Pack<Real, lanes>;
// How many pixels make a run: with two packs each, they take nearly all registers.
constexpr int most_pixels = bytes_of_register == 64 ? 14 : 6;

// Some rows of the outputs of an image, and the rows of the inputs that they are made of.
struct Strip {
  const ConvGeometry& g;
  Index first, rows;

  static Index most_rows(const ConvGeometry& g) {
    constexpr Index pixels = 512;
    return std::clamp<Index>(pixels / g.Wo, 1, g.Ho);
  }
  static Index count(const ConvGeometry& g) { return (g.Ho + most_rows(g) - 1) / most_rows(g); }
  Strip(const ConvGeometry& geometry, Index number)
      : g(geometry), first(number * most_rows(g)), rows(std::min(most_rows(g), g.Ho - first)) {}

  Index row() const { return g.W + g.pad.left + g.pad.right; }
  Index plane() const { return (most_rows(g) + g.K - 1) * row(); }

  // Of an image (C, H, W): planes with margins, which are zeros.
  void copy_inputs(const Real* x, Real* planes) const {
    std::fill_n(planes, g.C * plane(), Real(0));
    const Index begin = std::max<Index>(0, first - g.pad.top);
    const Index end = std::min(g.H, first + rows + g.K - 1 - g.pad.top);
    for (Index c = 0; c < g.C; ++c)
      for (Index i = begin; i < end; ++i)
        std::copy_n(x + (c * g.H + i) * g.W, g.W,
                    planes + c * plane() + (i + g.pad.top - first) * row() + g.pad.left);
  }
};

// Channels whose weights stay in a part of the first cache while they serve the runs of a strip.
Index channels_at_once(const ConvGeometry& g, int packs) {
  constexpr Index bytes = 24 * 1024;
  return std::clamp<Index>(bytes / (g.taps() * packs * bytes_of_register), 1, g.C);
}

// sums[pixel][lane] += the sum over some channels c, and u and v, of w[c, u, v][lane]
// x[c][u][pixel + v], for a run of pixels and so many packs of lanes. The sums begin with `before`,
// whose pixels are so many Reals apart.
template <int packs, int pixels>
void add_up_run(const Strip& strip, Index channels, const Real* x, const Real* w,
                const Real* before, Index step, Real* sums) {
  const ConvGeometry& g = strip.g;
  Register sum[pixels][packs];
  for (int p = 0; p < pixels; ++p)
    for (int k = 0; k < packs; ++k)
      sum[p][k] = load_pack<Real, lanes>(before + p * step + k * lanes);
  for (Index c = 0; c < channels; ++c)
    for (Index u = 0; u < g.K; ++u) {
      const Real* from = x + c * strip.plane() + u * strip.row();
      for (Index v = 0; v < g.L; ++v, ++from, w += packs * lanes) {
        // Without this GCC sees that the next tap reads most of these numbers again, and moves them
        // from one register to another instead of loading each where it is needed.
        __asm__("" : "+r"(from));
        Register weights[packs];
        for (int k = 0; k < packs; ++k) weights[k] = load_pack<Real, lanes>(w + k * lanes);
        for (int p = 0; p < pixels; ++p)
          for (int k = 0; k < packs; ++k) sum[p][k] += from[p] * weights[k];
      }
    }
  for (int p = 0; p < pixels; ++p)
    for (int k = 0; k < packs; ++k) store_pack(sums + (p * packs + k) * lanes, sum[p][k]);
}

// Calls f with the compile-time constant n, 1 <= n <= most.
template <int most, class F>
void with_constant(Index n, const F& f) {
  if (n == most) {
    f(std::integral_constant<int, most>());
  } else if constexpr (most > 1) {
    with_constant<most - 1>(n, f);
  }
}

// The outputs of a strip for one block of packs: (pixels, packs, lanes).
template <int packs>
void add_up_strip(const Strip& strip, const Real* planes, const Real* w, const Real* bias,
                  Real* out) {
  constexpr Index block = packs * lanes;
  const ConvGeometry& g = strip.g;
  const Index runs = (g.Wo + most_pixels - 1) / most_pixels, most = channels_at_once(g, packs);
  const auto add_channels = [&](Index c, Index channels, Index row, Index pixel, auto pixels) {
    Real* const sums = out + (row * g.Wo + pixel) * block;
    add_up_run<packs, pixels>(
        strip, channels, planes + c * strip.plane() + row * strip.row() + pixel,
        w + c * g.taps() * block, c == 0 ? bias : sums, c == 0 ? 0 : block, sums);
  };
  for (Index c = 0; c < g.C; c += most)
    for (Index row = 0; row < strip.rows; ++row)
      for (Index run = 0; run < runs; ++run) {  // of equal lengths, or nearly
        const Index pixel = g.Wo * run / runs, count = g.Wo * (run + 1) / runs - pixel;
        with_constant<most_pixels>(count, [&](auto pixels) {
          add_channels(c, std::min(most, g.C - c), row, pixel, pixels);
        });
      }
}

// Weights (blocks, C K L, lanes of a block), zeros where there are no outputs.
Tensor in_blocks(const Tensor& w, const ConvGeometry& g, Index block) {
  const Index blocks = (g.O + block - 1) / block;
  const Tensor whole = pad(w.reshape({g.O, g.C * g.taps()}), 0, 0, blocks * block - g.O);
  return permute(whole.reshape({blocks, block, g.C * g.taps()}), {0, 2, 1});
}

template <int packs>
Tensor conv(const Tensor& x, const Tensor& w, const Real* bias, const ConvGeometry& g) {
  constexpr Index block = packs * lanes;
  Tensor y = Tensor::empty(g.output());
  const Tensor weights = in_blocks(w, g, block);
  const Index blocks = weights.size(0), strips = Strip::count(g);
  std::vector<Real> biases(blocks * block);
  std::copy_n(bias, g.O, biases.data());
  parallel_for(g.B * strips, 1, [&, to = y.mutable_data()](Index task, Index end) {
    for (; task < end; ++task) {
      const Strip strip(g, task % strips);
      const Index image = task / strips, pixels = strip.rows * g.Wo;
      const Workspace planes(g.C * strip.plane()), out(pixels * block);
      strip.copy_inputs(x.data() + image * g.in_size(), planes.data());
      for (Index first = 0; first < g.O; first += block) {
        add_up_strip<packs>(strip, planes.data(), weights.data() + first * g.C * g.taps(),
                            biases.data() + first, out.data());
        transpose_block(out.data(), block, pixels, std::min(block, g.O - first),
                        to + image * g.out_size() + first * g.out_pixels() + strip.first * g.Wo,
                        g.out_pixels());
      }
    }
  });
  return y;
}

// ---- The gradient of the weights ---------------------------------------------------------------

// sums[c][v][lane] += the sum over the pixels of a strip of x[c][pixel + v] d[pixel][lane], for
// some channels and `width` taps that are neighbours: their sums are in the registers meanwhile.
template <int packs, int channels, int width>
void add_up_taps(const Strip& strip, const Real* x, const Real* d, Real* sums, Index channel_step) {
  Register sum[channels][width][packs];
  const auto at = [&](int c, int v, int k) {
    return sums + c * channel_step + (v * packs + k) * lanes;
  };
  for (int c = 0; c < channels; ++c)
    for (int v = 0; v < width; ++v)
      for (int k = 0; k < packs; ++k) sum[c][v][k] = load_pack<Real, lanes>(at(c, v, k));
  for (Index i = 0; i < strip.rows; ++i) {
    const Real* from = x + i * strip.row();
    for (Index j = 0; j < strip.g.Wo; ++j, ++from, d += packs * lanes) {
      __asm__("" : "+r"(from));  // as in add_up_run()
      Register gradient[packs];
      for (int k = 0; k < packs; ++k) gradient[k] = load_pack<Real, lanes>(d + k * lanes);
      for (int c = 0; c < channels; ++c)
        for (int v = 0; v < width; ++v)
          for (int k = 0; k < packs; ++k) sum[c][v][k] += from[c * strip.plane() + v] * gradient[k];
    }
  }
  for (int c = 0; c < channels; ++c)
    for (int v = 0; v < width; ++v)
      for (int k = 0; k < packs; ++k) store_pack(at(c, v, k), sum[c][v][k]);
}

// sums (C, K, L, lanes of a block) of one strip.
template <int packs>
void add_up_gradient(const Strip& strip, const Real* planes, const Real* d, Real* sums) {
  constexpr int most = bytes_of_register == 64 ? 7 : 3;  // taps; twice, for two channels
  constexpr Index block = packs * lanes;
  const ConvGeometry& g = strip.g;
  const auto add = [&](Index c, Index u, Index v, auto channels, auto width) {
    add_up_taps<packs, channels, width>(strip, planes + c * strip.plane() + u * strip.row() + v, d,
                                        sums + ((c * g.K + u) * g.L + v) * block, g.taps() * block);
  };
  for (Index c = 0; c < g.C; c += 2)
    for (Index u = 0; u < g.K; ++u)
      for (Index v = 0; v < g.L; v += most)
        with_constant<most>(std::min<Index>(most, g.L - v), [&](auto width) {
          with_constant<2>(std::min<Index>(2, g.C - c),
                           [&](auto channels) { add(c, u, v, channels, width); });
        });
}

template <int packs>
Tensor weight_gradient(const Tensor& d, const Tensor& x, const ConvGeometry& g) {
  constexpr Index block = packs * lanes;
  const Index blocks = (g.O + block - 1) / block, weights = g.C * g.taps();
  const Index strips = Strip::count(g), most = Strip::most_rows(g) * g.Wo;
  const auto part = [&](Index image, Index count, Real* sums) {
    const Workspace planes(g.C * Strip(g, 0).plane()), pixels(most * block);
    std::fill_n(sums, blocks * weights * block, Real(0));
    for (Index task = image * strips; task < (image + count) * strips; ++task) {
      const Strip strip(g, task % strips);
      const Real* from = d.data() + task / strips * g.out_size() + strip.first * g.Wo;
      strip.copy_inputs(x.data() + task / strips * g.in_size(), planes.data());
      for (Index b = 0; b < blocks; ++b) {
        const Index outputs = std::min(block, g.O - b * block);
        if (outputs < block) std::fill_n(pixels.data(), most * block, Real(0));
        transpose_block(from + b * block * g.out_pixels(), g.out_pixels(), outputs,
                        strip.rows * g.Wo, pixels.data(), block);
        add_up_gradient<packs>(strip, planes.data(), pixels.data(), sums + b * weights * block);
      }
    }
  };
  const Tensor sums = sum_over_groups({blocks, weights, block}, g.B, part);
  const Tensor all = permute(sums, {0, 2, 1}).reshape({blocks * block, weights});
  return slice(all, 0, 0, g.O).reshape({g.O, g.C, g.K, g.L});
}

}  // namespace

bool has_outputs_in_lanes(const ConvGeometry& g) {
  const Index block = g.O > lanes ? 2 * lanes : lanes, padded = (g.O + block - 1) / block * block;
  const bool suits = bytes_of_register >= 32 && g.pad.stride == 1 && 4 * g.O >= 3 * padded;
  // Unfolding for 9 taps costs little beside the products, which run at full rate then.
  const bool many_taps = g.taps() > 9 && g.L >= 3 && g.Wo >= 7 && !g.direct();
  const bool few_images = g.direct() && g.B < images_at_once && g.out_pixels() >= 4096;
  return suits && (many_taps || few_images);
}

// With 16 registers, a run of taps is too short to pay: products of unfolded rows take less.
bool has_gradient_in_lanes(const ConvGeometry& g) {
  return bytes_of_register == 64 && has_outputs_in_lanes(g) && !g.direct();
}

Tensor lanes_conv(const Tensor& x, const Tensor& w, const Real* bias, const ConvGeometry& g) {
  return g.O > lanes ? conv<2>(x, w, bias, g) : conv<1>(x, w, bias, g);
}

Tensor lanes_weight_gradient(const Tensor& d, const Tensor& x, const ConvGeometry& g) {
  return g.O > lanes ? weight_gradient<2>(d, x, g) : weight_gradient<1>(d, x, g);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

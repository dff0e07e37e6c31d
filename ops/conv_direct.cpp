// Few channels: the planes of a group of images are laid out one after another with zeros between
// their rows, so that the input pixel of a tap is always the same distance away. Then a convolution
// is a sum over taps of a weight times a shifted copy of one long array: unit strides, whole vector
// registers, and no care for edges. What falls between the rows is not copied back.
#include "backflow/ops/conv_direct.h"

#include "backflow/engine/parallel.h"
#include "backflow/ops/finite.h"
#include "backflow/ops/shape.h"
#include "backflow/ops/workspace.h"

namespace backflow::inline BACKFLOW_PRECISION {

using namespace planes;

namespace {

// The sum of all lanes: halves are added until two lanes are left.
template <std::size_t bytes = sizeof(Register), class Lanes = Register>
Real sum_of_lanes(const Lanes& x) {
  if constexpr (bytes == 2 * sizeof(Real)) {
    return x[0] + x[1];
  } else {
    typedef Real Half __attribute__((vector_size(bytes / 2)));
    Half low, high;
    std::memcpy(&low, &x, sizeof low);
    std::memcpy(&high, reinterpret_cast<const char*>(&x) + sizeof low, sizeof high);
    return sum_of_lanes<bytes / 2, Half>(low + high);
  }
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

// How many images fit a part of the first cache, with so many planes of so many Reals each.
Index images_in_cache(Index planes, Index plane) {
  constexpr Index bytes = 24 * 1024, most = 16;
  const Index image = planes * plane * static_cast<Index>(sizeof(Real));
  return std::clamp<Index>(bytes / std::max<Index>(1, image), 1, most);
}

// out[o][p] = bias[o] + sum over taps of w[tap][o] in[p + offset[tap]], some outputs and packs at
// once. Each load of `in` serves all of them: 8 outputs take 16 multiply-adds of whole packs for 2
// loads. The packs are the first one of each image, then the second ones, and so on: those that are
// computed at once are in the same rows, or nearly, and what the kernel has beyond the image is
// left out for all of them.
template <int outputs>
void correlate(const DirectKernel& kernel, const Layout& layout, const Real* in, Index images,
               Index first_output, Real* out, Index out_step) {
  constexpr int packs = std::max(1, std::min(most_packs, accumulators / outputs));
  const ConvGeometry& g = kernel.g;
  const Real* const bias = kernel.bias.data() + first_output;
  const Real* const weights = kernel.weights.data() + first_output * std::ssize(kernel.offsets);
  Index pack = 0, image = 0;
  while (pack < layout.packs) {
    const Index first_pack = pack;
    Index last_pack = pack, at[packs] = {};
    const Real* from[packs];
    for (int k = 0; k < packs; ++k) {  // behind the last pack of all, the last once more
      if (pack < layout.packs) {
        at[k] = image * layout.image + pack * lanes;
        last_pack = pack;
        if (++image == images) image = 0, ++pack;
      } else {
        at[k] = at[k - 1];
      }
      from[k] = in + at[k];
    }
    Register sum[outputs][packs];
    for (int o = 0; o < outputs; ++o)
      for (int k = 0; k < packs; ++k) sum[o][k] = Register{} + bias[o];
    const Index top = kernel.rows[last_pack].begin, bottom = kernel.rows[first_pack].end;
    for (Index c = 0; c < g.C; ++c) {
      const Index* offset = kernel.offsets.data() + (c * g.K + top) * g.L;
      const Index* const end = kernel.offsets.data() + (c * g.K + bottom) * g.L;
      const Real* weight = weights + (c * g.K + top) * g.L * outputs;
      for (; offset != end; ++offset, weight += outputs) {
        Register x[packs];
        for (int k = 0; k < packs; ++k) x[k] = load(from[k] + *offset);
        for (int o = 0; o < outputs; ++o)
          for (int k = 0; k < packs; ++k) sum[o][k] += weight[o] * x[k];
      }
    }
    unrolled<outputs>([&](auto o) {
      unrolled<packs>([&](auto k) { store(out + o * out_step + at[k], sum[o][k]); });
    });
  }
}

// sums[o][tap] += d[o][p] x[p + offset[tap]] for the p of each lane, some outputs and taps at once.
// The lanes are added up at the very end. 8 outputs and 3 taps take 24 multiply-adds for 11 loads,
// of which 3 cross cache lines. Where all taps are beyond the image, there is nothing to add.
template <int outputs>
void accumulate(const ConvGeometry& g, const Layout& layout, const Real* d, const Real* x,
                const std::vector<Index>& offsets, const std::vector<Range>& packs_of_rows,
                Index images, Register* sums) {
  constexpr int width = std::max(1, std::min(9, gradient_accumulators / outputs));
  const Index taps = std::ssize(offsets);
  for (Index tap = 0; tap < taps; tap += width) {
    const Real* from[width];  // behind the last tap, the last once more
    Index begin = layout.packs, end = 0;
    for (Index t = 0; t < width; ++t) {
      const Index which = std::min(tap + t, taps - 1);
      from[t] = x + offsets[which];
      const auto [first, behind] = packs_of_rows[which / g.L % g.K];
      begin = std::min(begin, first), end = std::max(end, behind);
    }
    Register sum[outputs][width] = {};
    for (Index image = 0; image < images; ++image)
      for (Index p = image * layout.image + begin * lanes; p < image * layout.image + end * lanes;
           p += lanes) {
        Register shifted[width];
        for (int t = 0; t < width; ++t) shifted[t] = in_register(load(from[t] + p));
        for (int o = 0; o < outputs; ++o) {
          const Register row = in_register(load(d + o * layout.channel + p));
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

// The convolution of images that lie in planes of this layout: `in` is the first pixel of the first
// one. finish() is that of take_out().
template <class Finish>
void convolve(const DirectKernel& kernel, const Layout& layout, const Real* in, Index images,
              Real* out, const Finish& finish) {
  const Index step = images * layout.image + most_packs * lanes;
  const Index O = kernel.g.O, pixels = layout.pixels();
  const Workspace flat(most_outputs * step);
  for_each_block(O, [&](Index first, auto outputs) {
    correlate<outputs>(kernel, layout, in, images, first, flat.data(), step);
    for (Index i = 0; i < images; ++i)
      for (Index o = 0; o < outputs; ++o) {
        // What is taken out later: the other planes of the block or, if it is the only one, all.
        const Index plane = i * O + first, end = outputs == O ? images * O : plane + outputs;
        layout.take_out(flat.data() + o * step + i * layout.image, out, (plane + o) * pixels,
                        end * pixels, finish);
      }
  });
}

}  // namespace

DirectKernel::DirectKernel(const ConvGeometry& g, const Tensor& w, const Tensor& bias,
                           const Layout& layout)
    : g(g),
      offsets(layout.tap_offsets(g)),
      rows(layout.kernel_rows(g)),
      weights(in_blocks(w, g.O, g.C * g.taps())),
      bias(bias) {
  // Zeros of the margin times such a weight are NaN: of all pixels alike, whatever is computed at
  // once.
  if (!all_finite(w)) std::fill(rows.begin(), rows.end(), Range{0, g.K});
}

DirectConv::DirectConv(const ConvGeometry& g, const Tensor& w, const Tensor& bias)
    : g_(g),
      few_(images_in_cache(g.C + most_outputs, Layout(g, 1).image)),
      layout_(g, few_),
      kernel_(g, w, bias, layout_) {}

void DirectConv::forward(const ImagesView& x, bool then_relu, Real* y) const {
  const auto as_it_is = [](const auto& v, Index) { return v; };
  const auto relu = [](const auto& v, Index) {
    const std::remove_cvref_t<decltype(v)> zero{};
    return v < zero ? zero : v;
  };
  const Workspace in(layout_.reals_of(g_.C));
  layout_.spread(x.data, x.end, x.count, g_.C, in.data());
  const Real* const first = in.data() + layout_.margin;
  if (then_relu) {
    convolve(kernel_, layout_, first, x.count, y, relu);
  } else {
    convolve(kernel_, layout_, first, x.count, y, as_it_is);
  }
}

DirectGradient::DirectGradient(const ConvGeometry& g, const Tensor& w)
    : g_(g),
      few_(images_in_cache(g.O + most_outputs, Layout(g, 1).image)),
      layout_(g, most_images),
      offsets_(layout_.tap_offsets(g)),
      packs_(layout_.packs_of_rows(g)) {
  if (w.defined())
    input_.emplace(ConvGeometry(g.output(), {g.C, g.O, g.K, g.L}, g.flipped()), flip_kernel(w),
                   Tensor::zeros({g.C}), layout_);
}

void DirectGradient::add(const ImagesView& d, const ImagesView& x, Real* lane_sums, Real* db,
                         Real* dx, bool from_relu) const {
  const Workspace in(layout_.reals_of(g_.C)), out(layout_.reals_of(g_.O));
  layout_.spread(x.data, x.end, x.count, g_.C, in.data());
  layout_.spread(d.data, d.end, d.count, g_.O, out.data());
  const Real* const first_d = out.data() + layout_.margin;
  for (Index i = 0; db && i < d.count; ++i)
    add_image_bias_gradient(d.data + i * g_.out_size(), g_, false, db);
  for_each_block(g_.O, [&](Index first, auto outputs) {
    accumulate<outputs>(g_, layout_, first_d + first * layout_.channel, in.data() + layout_.margin,
                        offsets_, packs_, x.count,
                        reinterpret_cast<Register*>(lane_sums) + first * std::ssize(offsets_));
  });
  for (Index i = 0; dx && i < x.count; i += few_) {
    const Index images = std::min(few_, x.count - i);
    const Real* const of = x.data + i * g_.in_size();
    const auto mask = [of](const auto& v, Index at) {
      std::remove_cvref_t<decltype(v)> y, zero{};
      std::memcpy(&y, of + at, sizeof y);
      return y <= zero ? zero : v;
    };
    const auto as_it_is = [](const auto& v, Index) { return v; };
    Real* const to = dx + i * g_.in_size();
    if (from_relu) {
      convolve(*input_, layout_, first_d + i * layout_.image, images, to, mask);
    } else {
      convolve(*input_, layout_, first_d + i * layout_.image, images, to, as_it_is);
    }
  }
}

void DirectGradient::total(const Real* lane_sums, Real* dw) const {
  const Register* const sums = reinterpret_cast<const Register*>(lane_sums);
  for (Index i = 0; i < g_.O * std::ssize(offsets_); ++i) dw[i] = sum_of_lanes(sums[i]);
}

Tensor direct_conv(const Tensor& x, const Tensor& w, const Tensor& bias, const ConvGeometry& g) {
  Tensor y = Tensor::empty(g.output());
  const DirectConv conv(g, w, bias);
  parallel_for(g.B, conv.few_images(), [&, to = y.mutable_data()](Index image, Index end) {
    conv.forward({x.data() + image * g.in_size(), x.data() + x.size(), end - image}, false,
                 to + image * g.out_size());
  });
  return y;
}

// The gradients of w and, with_bias, of the bias behind it.
static Tensor parameter_gradients(const Tensor& d, const Tensor& x, const ConvGeometry& g,
                                  bool with_bias) {
  const DirectGradient gradient(g, Tensor());
  const Index weights = g.O * g.C * g.taps(), size = weights + (with_bias ? g.O : 0);
  const auto part = [&](Index image, Index count, Real* sums) {
    const Workspace lane_sums(gradient.lane_sums());
    std::fill_n(lane_sums.data(), gradient.lane_sums(), Real(0));
    std::fill_n(sums, size, Real(0));
    for (const Index end = image + count; image < end; image += DirectGradient::most_images) {
      const Index images = std::min(DirectGradient::most_images, end - image);
      gradient.add({d.data() + image * g.out_size(), d.data() + d.size(), images},
                   {x.data() + image * g.in_size(), x.data() + x.size(), images}, lane_sums.data(),
                   with_bias ? sums + weights : nullptr, nullptr, false);
    }
    gradient.total(lane_sums.data(), sums);
  };
  return sum_over_groups({size}, g.B, part);
}

Tensor direct_weight_gradient(const Tensor& d, const Tensor& x, const ConvGeometry& g) {
  return parameter_gradients(d, x, g, false).reshape({g.O, g.C, g.K, g.L});
}

std::array<Tensor, 2> direct_weight_and_bias_gradient(const Tensor& d, const Tensor& x,
                                                      const ConvGeometry& g) {
  const Tensor both = parameter_gradients(d, x, g, true);
  const Index weights = both.size() - g.O;
  return {slice(both, 0, 0, weights).reshape({g.O, g.C, g.K, g.L}),
          slice(both, 0, weights, weights + g.O)};
}

}  // namespace backflow::inline BACKFLOW_PRECISION

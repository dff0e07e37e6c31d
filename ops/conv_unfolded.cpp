// Many channels: im2col and one product per image. It copies each input pixel once per tap, so
// conv2d has it unfold the side with fewer channels: with stride 1 a convolution is the adjoint of
// the convolution with the flipped kernel, which unfolds its output.
#include "backflow/engine/parallel.h"
#include "backflow/ops/conv_kernels.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/shape.h"
#include "backflow/ops/workspace.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Calls body(pixels of x, pixels of the column, count) for each run of output pixels of tap (u, v).
template <class Body>
void for_each_run(const ConvGeometry& g, Index u, Index v, const Body& body) {
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
void unfold(const Real* x, const ConvGeometry& g, Real* columns) {
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

// The adjoint of unfold(): adds each column entry to the pixel that it was copied from.
void fold(const Real* columns, const ConvGeometry& g, Real* x) {
  std::fill_n(x, g.C * g.in_pixels(), Real(0));
  for (Index c = 0; c < g.C; ++c, x += g.in_pixels())
    for (Index tap = 0; tap < g.taps(); ++tap, columns += g.out_pixels())
      for_each_run(g, tap / g.L, tap % g.L, [&](Index to, Index from, Index count) {
        for (Index j = 0; j < count; ++j) x[to + j * g.pad.stride] += columns[from + j];
      });
}

class Unfolded {
 public:
  explicit Unfolded(const ConvGeometry& g)
      : g_(g), columns_(g.pointwise() ? 0 : rows() * pixels()) {}

  MatrixView operator()(const Real* x) {
    if (g_.pointwise()) return matrix(x, rows(), pixels());
    unfold(x, g_, columns_.data());
    return matrix(columns_.data(), rows(), pixels());
  }
  // x = the product a b, folded.
  void fold_product(const MatrixView& a, const MatrixView& b, Real* x) {
    product(g_.pointwise() ? x : columns_.data(), pixels(), 0, a, b);
    if (!g_.pointwise()) fold(columns_.data(), g_, x);
  }

 private:
  Index rows() const { return g_.C * g_.taps(); }
  Index pixels() const { return g_.out_pixels(); }
  const ConvGeometry& g_;
  Workspace columns_;
};

}  // namespace

Tensor unfolded_conv(const Tensor& x, const Tensor& w, const Real* bias, const ConvGeometry& g) {
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
                               const ConvGeometry& g) {
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

// Adds the gradient of (O, C K L) weights for some images; `first` overwrites.
static void add_weight_gradient(const Tensor& d, const Tensor& x, const ConvGeometry& g,
                                Unfolded& columns, Index image, bool first, Real* dw) {
  product(dw, g.C * g.taps(), first ? 0 : 1,
          matrix(d.data() + image * g.O * g.out_pixels(), g.O, g.out_pixels()),
          transposed(columns(x.data() + image * g.C * g.in_pixels())));
}

Tensor unfolded_weight_gradient(const Tensor& d, const Tensor& x, const ConvGeometry& g) {
  const auto part = [&](Index image, Index count, Real* dw) {
    Unfolded columns(g);
    for (Index i = 0; i < count; ++i) add_weight_gradient(d, x, g, columns, image + i, i == 0, dw);
  };
  return sum_over_groups({g.O, g.C, g.K, g.L}, g.B, part);
}

std::array<Tensor, 2> unfolded_weight_and_bias_gradient(const Tensor& d, const Tensor& x,
                                                        const ConvGeometry& g) {
  const Index weights = g.O * g.C * g.taps();
  const auto part = [&](Index image, Index count, Real* sums) {
    Unfolded columns(g);
    std::fill_n(sums + weights, g.O, Real(0));
    for (Index i = 0; i < count; ++i) {
      add_weight_gradient(d, x, g, columns, image + i, i == 0, sums);
      const Real* plane = d.data() + (image + i) * g.O * g.out_pixels();
      for (Index o = 0; o < g.O; ++o, plane += g.out_pixels())
        sums[weights + o] +=
            static_cast<Real>(sum_in_lanes(g.out_pixels(), [=](Index p) { return plane[p]; }));
    }
  };
  const Tensor both = sum_over_groups({weights + g.O}, g.B, part);
  return {slice(both, 0, 0, weights).reshape({g.O, g.C, g.K, g.L}),
          slice(both, 0, weights, weights + g.O)};
}

}  // namespace backflow::inline BACKFLOW_PRECISION

// Many channels: im2col and one product per image. It copies each input pixel once per tap, so
// conv2d has it unfold the side with fewer channels: with stride 1 a convolution is the adjoint of
// the convolution with the flipped kernel, which unfolds its output.
#include "backflow/engine/parallel.h"
#include "backflow/ops/conv_kernels.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/reduce.h"
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

// What unfold() makes of an image, or the image itself for a kernel of one tap.
class Columns {
 public:
  explicit Columns(const ConvGeometry& g)
      : g_(g), columns_(g.pointwise() ? 0 : rows() * pixels()) {}

  MatrixView of(const Real* x) {
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

MatrixView weights(const Real* w, const ConvGeometry& g) { return matrix(w, g.O, g.C * g.taps()); }

MatrixView output(const Real* y, const ConvGeometry& g) { return matrix(y, g.O, g.out_pixels()); }

}  // namespace

void conv_image(const Real* x, const Real* w, const Real* bias, const ConvGeometry& g, Real* y) {
  for (Index o = 0; o < g.O; ++o) std::fill_n(y + o * g.out_pixels(), g.out_pixels(), bias[o]);
  product(y, g.out_pixels(), 1, weights(w, g), Columns(g).of(x));
}

void conv_image_input_gradient(const Real* d, const Real* w, const ConvGeometry& g, Real* dx) {
  Columns(g).fold_product(transposed(weights(w, g)), output(d, g), dx);
}

void add_image_weight_gradient(const Real* d, const Real* x, const ConvGeometry& g, bool first,
                               Real* dw) {
  product(dw, g.C * g.taps(), first ? 0 : 1, output(d, g), transposed(Columns(g).of(x)));
}

void add_image_bias_gradient(const Real* d, const ConvGeometry& g, bool first, Real* db) {
  if (first) std::fill_n(db, g.O, Real(0));
  for (Index o = 0; o < g.O; ++o, d += g.out_pixels())
    db[o] += static_cast<Real>(sum_in_lanes(g.out_pixels(), [=](Index p) { return d[p]; }));
}

Tensor unfolded_conv(const Tensor& x, const Tensor& w, const Real* bias, const ConvGeometry& g) {
  if (g.unfolds_rows()) return rows_conv(x, w, bias, g);
  Tensor y = Tensor::empty(g.output());
  parallel_for(g.B, images_per_chunk(g.B), [&, to = y.mutable_data()](Index image, Index end) {
    for (; image < end; ++image)
      conv_image(x.data() + image * g.in_size(), w.data(), bias, g, to + image * g.out_size());
  });
  return y;
}

Tensor unfolded_input_gradient(const Tensor& d, const Tensor& w, const Shape& x,
                               const ConvGeometry& g) {
  if (g.unfolds_rows()) return rows_input_gradient(d, w, x, g);
  Tensor dx = Tensor::empty(x);
  parallel_for(g.B, images_per_chunk(g.B), [&, to = dx.mutable_data()](Index image, Index end) {
    for (; image < end; ++image)
      conv_image_input_gradient(d.data() + image * g.out_size(), w.data(), g,
                                to + image * g.in_size());
  });
  return dx;
}

Tensor unfolded_weight_gradient(const Tensor& d, const Tensor& x, const ConvGeometry& g) {
  if (g.unfolds_rows()) return rows_weight_gradient(d, x, g);
  const auto part = [&](Index image, Index count, Real* dw) {
    for (Index i = 0; i < count; ++i)
      add_image_weight_gradient(d.data() + (image + i) * g.out_size(),
                                x.data() + (image + i) * g.in_size(), g, i == 0, dw);
  };
  return sum_over_groups({g.O, g.C, g.K, g.L}, g.B, part);
}

std::array<Tensor, 2> unfolded_weight_and_bias_gradient(const Tensor& d, const Tensor& x,
                                                        const ConvGeometry& g) {
  if (g.unfolds_rows()) return {rows_weight_gradient(d, x, g), sum(d, {0, 2, 3})};
  const Index weights = g.O * g.C * g.taps();
  const auto part = [&](Index image, Index count, Real* sums) {
    for (Index i = 0; i < count; ++i) {
      const Real* from = d.data() + (image + i) * g.out_size();
      add_image_weight_gradient(from, x.data() + (image + i) * g.in_size(), g, i == 0, sums);
      add_image_bias_gradient(from, g, i == 0, sums + weights);
    }
  };
  const Tensor both = sum_over_groups({weights + g.O}, g.B, part);
  return {slice(both, 0, 0, weights).reshape({g.O, g.C, g.K, g.L}),
          slice(both, 0, weights, weights + g.O)};
}

}  // namespace backflow::inline BACKFLOW_PRECISION

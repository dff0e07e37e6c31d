// Many channels and kernels of several rows: only the columns of the taps are unfolded, and there
// is a product per row of the kernel. im2col copies each pixel K L times; of these copies, those of
// tap (u, v) are those of (0, v), u rows further down. So L copies of the padded image do, in which
// the matrix of each row u begins u rows later.
#include "backflow/engine/parallel.h"
#include "backflow/ops/conv_kernels.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/shape.h"
#include "backflow/ops/workspace.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// columns[c, v][i, j] = x[c][i - top][j + v - left], 0 outside: planes of (padded height, Wo).
class ColumnsOfTaps {
 public:
  explicit ColumnsOfTaps(const ConvGeometry& g)
      : g_(g), plane_((g.H + g.pad.top + g.pad.bottom) * g.Wo), columns_(size()) {
    clear();
  }

  void clear() { std::fill_n(columns_.data(), size(), Real(0)); }
  // What lies outside of the image stays as it is.
  void unfold(const Real* x) {
    for_each_run([=, this](Index pixel, Index at, Index count) {
      std::copy_n(x + pixel, count, columns_.data() + at);
    });
  }
  // The adjoint of unfold().
  void fold(Real* x) const {
    std::fill_n(x, g_.C * g_.in_pixels(), Real(0));
    for_each_run([=, this](Index pixel, Index at, Index count) {
      for (Index j = 0; j < count; ++j) x[pixel + j] += columns_.data()[at + j];
    });
  }

  // For row u of the kernels, (C L, Ho Wo).
  MatrixView of_row(Index u) const { return {row(u), g_.C * g_.L, g_.out_pixels(), plane_}; }
  void add_product_to_row(Index u, const MatrixView& a, const MatrixView& b) {
    product(row(u), plane_, 1, a, b);
  }

 private:
  Index size() const { return g_.C * g_.L * plane_; }
  Real* row(Index u) const { return columns_.data() + u * g_.Wo; }

  // Calls body(pixel of x, its place here, count) for each run of pixels that are neighbours.
  template <class Body>
  void for_each_run(const Body& body) const {
    for (Index c = 0; c < g_.C; ++c)
      for (Index v = 0; v < g_.L; ++v) {
        const Index first = std::max<Index>(0, g_.pad.left - v);
        const Index count = std::min(g_.Wo, g_.W + g_.pad.left - v) - first;
        const Index plane = (c * g_.L + v) * plane_ + first;
        for (Index i = 0; i < g_.H && count > 0; ++i)
          body((c * g_.H + i) * g_.W + first + v - g_.pad.left, plane + (i + g_.pad.top) * g_.Wo,
               count);
      }
  }

  const ConvGeometry& g_;
  Index plane_;
  Workspace columns_;
};

// Row u of the kernels, of (K, O, C, L) where a row's weights lie together.
MatrixView row_of(const Real* weights, const ConvGeometry& g, Index u) {
  return matrix(weights + u * g.O * g.C * g.L, g.O, g.C * g.L);
}

MatrixView image_of(const Tensor& y, const ConvGeometry& g, Index image) {
  return matrix(y.data() + image * g.O * g.out_pixels(), g.O, g.out_pixels());
}

}  // namespace

Tensor rows_conv(const Tensor& x, const Tensor& w, const Real* bias, const ConvGeometry& g) {
  Tensor y = Tensor::empty(g.output());
  const Tensor W = permute(w, {2, 0, 1, 3});
  parallel_for(g.B, images_per_chunk(g.B), [&, out = y.mutable_data()](Index image, Index end) {
    ColumnsOfTaps columns(g);
    for (; image < end; ++image) {
      Real* to = out + image * g.O * g.out_pixels();
      for (Index o = 0; o < g.O; ++o) std::fill_n(to + o * g.out_pixels(), g.out_pixels(), bias[o]);
      columns.unfold(x.data() + image * g.C * g.in_pixels());
      for (Index u = 0; u < g.K; ++u)
        product(to, g.out_pixels(), 1, row_of(W.data(), g, u), columns.of_row(u));
    }
  });
  return y;
}

Tensor rows_input_gradient(const Tensor& d, const Tensor& w, const Shape& x,
                           const ConvGeometry& g) {
  Tensor dx = Tensor::empty(x);
  const Tensor W = permute(w, {2, 0, 1, 3});
  parallel_for(g.B, images_per_chunk(g.B), [&, to = dx.mutable_data()](Index image, Index end) {
    ColumnsOfTaps columns(g);
    for (; image < end; ++image) {
      columns.clear();
      for (Index u = 0; u < g.K; ++u)
        columns.add_product_to_row(u, transposed(row_of(W.data(), g, u)), image_of(d, g, image));
      columns.fold(to + image * g.C * g.in_pixels());
    }
  });
  return dx;
}

Tensor rows_weight_gradient(const Tensor& d, const Tensor& x, const ConvGeometry& g) {
  const auto part = [&](Index first, Index count, Real* dw) {
    ColumnsOfTaps columns(g);
    for (Index image = first; image < first + count; ++image) {
      columns.unfold(x.data() + image * g.C * g.in_pixels());
      for (Index u = 0; u < g.K; ++u)
        product(dw + u * g.O * g.C * g.L, g.C * g.L, image == first ? 0 : 1, image_of(d, g, image),
                transposed(columns.of_row(u)));
    }
  };
  return permute(sum_over_groups({g.K, g.O, g.C, g.L}, g.B, part), {1, 2, 0, 3});
}

}  // namespace backflow::inline BACKFLOW_PRECISION

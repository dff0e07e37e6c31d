#include "backflow/flows/linear/linear_map.h"

#include <algorithm>
#include <cmath>

#include "backflow/flows/linear/logdet_gradients.h"
#include "backflow/ops/conv.h"
#include "backflow/ops/conv_lu.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

double cube(Index n) { return std::pow(static_cast<double>(n), 3); }

// ---- Fully connected ------------------------------------------------------------------------

class DenseFactorization : public WithLogdetGradient {
 public:
  explicit DenseFactorization(const Tensor& w) : lu_(w) {}
  double log_abs_det() const override { return lu_.log_abs_det(); }
  Tensor solve(const Tensor& z) const override { return transpose(lu_.solve(transpose(z))); }

 private:
  Tensor compute_logdet_gradient() const override { return transpose(lu_.inverse()); }
  LU lu_;
};

// Examples are rows, so T x is written x w^T.
class Dense : public LinearMap {
 public:
  OpName op() const override { return "matmul"; }
  Index outputs(const Shape& w) const override { return w[0]; }
  Var reshape_examples(const Var& x, const Shape& w) const override {
    const Index D = w[0];
    if (x.rank() < 1 || x.size() != x.size(0) * D)
      fail("linear", "examples of ", D, " values expected, the input's shape is ", x.shape());
    return x.rank() == 2 ? x : reshape(x, {x.size(0), D});
  }
  Shape bias_shape(const Shape& w) const override { return {w[0]}; }

  Tensor apply(const Tensor& w, const Tensor& x) const override { return matmul(x, transposed(w)); }
  Tensor apply_transposed(const Tensor& w, const Tensor& g) const override { return matmul(g, w); }
  void add_weight_gradient(Tensor& gw, const Tensor& g, const Tensor& x) const override {
    matmul_into(gw, 1, transposed(g), x);
  }
  Tensor logdet_gradient_by(const Tensor& r, const Shape&) const override { return transpose(r); }
  Tensor weight_gradient(Real scale, const Tensor& r, const Tensor& g,
                         const Tensor& x) const override {
    return transpose_plus_product(scale, r, transposed(g), x);
  }
  std::shared_ptr<const Factorization> factorize(const Tensor& w, const Shape&) const override {
    return std::make_shared<DenseFactorization>(w);
  }
  std::shared_ptr<const LogDeterminant> logdet_in_real(const Tensor& w,
                                                       const Shape&) const override {
    return std::make_shared<ComputedLogdet>(logabsdet_in_real(w));
  }
  double logdet_flop(const Shape& w, const Shape&) const override { return 2 * cube(w[0]); }
};

// ---- Convolutions ---------------------------------------------------------------------------

class ConvFactorization : public WithLogdetGradient {
 public:
  ConvFactorization(const Tensor& w, Index height, Index width) : lu_(w, height, width) {}
  double log_abs_det() const override { return lu_.log_abs_det(); }
  Tensor solve(const Tensor& z) const override { return lu_.solve(z); }

 private:
  Tensor compute_logdet_gradient() const override { return lu_.logdet_gradient(); }
  ConvLU lu_;
};

// A kernel of one tap mixes the channels of each pixel alike: T(w) is the same (C, C) matrix again
// and again, and that one is factorised.
class PixelFactorization : public WithLogdetGradient {
 public:
  PixelFactorization(const Tensor& w, Index pixels)
      : lu_(w.reshape({w.size(0), w.size(1)})), pixels_(pixels), shape_(w.shape()) {}
  double log_abs_det() const override { return pixels_ * lu_.log_abs_det(); }
  Tensor solve(const Tensor& z) const override { return conv2d(z, lu_.inverse().reshape(shape_)); }

 private:
  Tensor compute_logdet_gradient() const override {
    return static_cast<Real>(pixels_) * transpose(lu_.inverse()).reshape(shape_);
  }
  LU lu_;
  double pixels_;
  Shape shape_;
};

// For each tap of a kernel, on how many pixels it meets the image and not its padding.
Tensor multiplicity(const Shape& w, const Shape& batch) {
  const Index H = batch[2], W = batch[3], K = w[2], L = w[3];
  Tensor m = Tensor::empty({K, L});
  Real* p = m.mutable_data();
  for (Index u = 0; u < K; ++u)
    for (Index v = 0; v < L; ++v)
      *p++ = static_cast<Real>(std::max<Index>(0, H - std::abs(u - K / 2)) *
                               std::max<Index>(0, W - std::abs(v - L / 2)));
  return m;
}

class Convolution : public LinearMap {
 public:
  OpName op() const override { return "conv2d"; }
  Index outputs(const Shape& w) const override { return w[0]; }
  Var reshape_examples(const Var& x, const Shape& w) const override {
    if (x.rank() != 4 || x.size(1) != w[0])
      fail("linear", "images with ", w[0], " channels expected, the input's shape is ", x.shape());
    return x;
  }
  Shape bias_shape(const Shape& w) const override { return {w[0], 1, 1}; }

  Tensor apply(const Tensor& w, const Tensor& x) const override {
    return conv2d(x, w, Conv2d::same(w.shape()));
  }
  Tensor apply_transposed(const Tensor& w, const Tensor& g) const override {
    return conv2d_input_gradient(g, w, g.shape(), Conv2d::same(w.shape()));
  }
  void add_weight_gradient(Tensor& gw, const Tensor& g, const Tensor& x) const override {
    add_into(gw, conv2d_weight_gradient(g, x, gw.shape(), Conv2d::same(gw.shape())));
  }
  Tensor logdet_gradient_by(const Tensor& r, const Shape& batch) const override {
    return flip_kernel(r) * multiplicity(r.shape(), batch);
  }
  Tensor weight_gradient(Real scale, const Tensor& r, const Tensor& g,
                         const Tensor& x) const override {
    Tensor gw = scale * logdet_gradient_by(r, x.shape());
    add_weight_gradient(gw, g, x);
    return gw;
  }
  std::shared_ptr<const Factorization> factorize(const Tensor& w,
                                                 const Shape& batch) const override {
    const Index H = batch[2], W = batch[3];
    if (w.size(2) * w.size(3) == 1) return std::make_shared<PixelFactorization>(w, H * W);
    return std::make_shared<ConvFactorization>(w, H, W);
  }
  std::shared_ptr<const LogDeterminant> logdet_in_real(const Tensor& w,
                                                       const Shape& batch) const override {
    const Index C = w.size(0), H = batch[2], W = batch[3];
    if (w.size(2) * w.size(3) == 1)
      return std::make_shared<ComputedLogdet>(logabsdet_in_real(w.reshape({C, C})),
                                              static_cast<double>(H * W));
    return std::make_shared<ComputedLogdet>(conv_logabsdet_in_real(w, H, W));
  }
  double logdet_flop(const Shape& w, const Shape& batch) const override {
    if (w[2] * w[3] == 1) return 2 * cube(w[0]);
    const Index rows = std::clamp<Index>(w[2] / 2, 1, batch[2]);  // of a block
    return 14 * static_cast<double>(batch[2]) / static_cast<double>(rows) *
           cube(rows * batch[3] * w[0]);  // ops/conv_logdet.h
  }
};

}  // namespace

const LinearMap& LinearMap::of(const Shape& w) {
  static const Dense& dense = *new Dense;
  static const Convolution& convolution = *new Convolution;
  if (w.rank() != 4) {
    if (w.rank() != 2 || w[0] != w[1])
      fail("linear", "W must be a square matrix, its shape is ", w);
    return dense;
  }
  if (w[0] != w[1]) fail("linear", "W must keep the number of channels, its shape is ", w);
  if (w[2] % 2 == 0 || w[3] % 2 == 0)
    fail("linear", "W must be kernels of odd sizes, its shape is ", w);
  return convolution;
}

Var apply(const LinearMap& map, const Var& w, const Var& x) {
  const Tensor W = w.value(), X = x.value();
  return record(map.op(), map.apply(W, X),
                grad(x, [&map, W](const Tensor& g) { return map.apply_transposed(W, g); }),
                grad(w, [&map, X, shape = W.shape()](const Tensor& g) {
                  Tensor gw = Tensor::zeros(shape);
                  map.add_weight_gradient(gw, g, X);
                  return gw;
                }));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

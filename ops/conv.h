// Two-dimensional convolution (cross-correlation, as in every deep-learning library).
//
//   y[b, o, i, j] = sum over c, u, v of w[o, c, u, v] x[b, c, i s + u - top, j s + v - left]
//
// with stride s; pixels outside x are 0. Two kernels stand behind one function, chosen by shape
// alone: a direct one over whole planes for few channels, and products of matrices for many.
#pragma once

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Conv2d {
  Index stride = 1;
  Index top = 0, left = 0, bottom = 0, right = 0;  // rows and columns of zeros around x

  static Conv2d padded(Index padding, Index stride = 1) {
    return {stride, padding, padding, padding, padding};
  }
  // For kernels (O, C, K, L) of odd sizes: the output is as large as the input.
  static Conv2d same(const Shape& w) { return {1, w[2] / 2, w[3] / 2, w[2] / 2, w[3] / 2}; }
};

// x (B, C, H, W), w (O, C, K, L) -> (B, O, (H + top + bottom - K) / stride + 1, ...), columns
// alike. 2 B O H' W' C K L flop. Fails when channels differ or the kernel is larger than the padded
// image.
Tensor conv2d(const Tensor& x, const Tensor& w, const Conv2d& options = {});
Var conv2d(const Var& x, const Var& w, const Conv2d& options = {});
// Plus a bias per output channel, (O).
Tensor conv2d(const Tensor& x, const Tensor& w, const Tensor& b, const Conv2d& options = {});
Var conv2d(const Var& x, const Var& w, const Var& b, const Conv2d& options = {});

// For rules of gradients: the adjoint in x, of a given shape, and the gradient of w; g is y's.
Tensor conv2d_input_gradient(const Tensor& g, const Tensor& w, const Shape& x,
                             const Conv2d& options = {});
Tensor conv2d_weight_gradient(const Tensor& g, const Tensor& x, const Shape& w,
                              const Conv2d& options = {});

// Both axes mirrored, input and output channels swapped: the kernel of the transposed matrix.
Tensor flip_kernel(const Tensor& w);

}  // namespace backflow::inline BACKFLOW_PRECISION

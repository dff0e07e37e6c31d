// Matrix products in all transpose modes: matmul(a, b), matmul(a, transposed(b)), ...
//
// OpenBLAS computes on one thread; large products are cut into tiles, or along their inner axis if
// that is long, by their shape alone, and the parts run on our pool. So the bits do not depend on
// the number of threads.
#pragma once

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

// A matrix, or a batch of them, read as it is or transposed. Nothing is copied.
template <class T>
struct Operand {
  T value;
  bool is_transposed = false;

  Operand(T matrix, bool transposed) : value(std::move(matrix)), is_transposed(transposed) {}
  template <std::convertible_to<T> U>
  requires(std::same_as<U, Tensor> == std::same_as<T, Tensor>) Operand(const U& matrix)
      : value(matrix) {}
};
inline Operand<Tensor> transposed(const Tensor& x) { return {x, true}; }
inline Operand<Var> transposed(const Var& x) { return {x, true}; }

// (m, k) x (k, n) -> (m, n); 2 m n k flop.
//
// A batch of matrices (B, m, k) is multiplied matrix by matrix, by a batch (B, k, n) or by one
// matrix (k, n) that serves all; so is one matrix (m, k) by a batch: -> (B, m, n). transposed(x)
// reads each matrix of a batch transposed. The batches must be of the same size, and nothing else
// broadcasts.
Tensor matmul(const Operand<Tensor>& a, const Operand<Tensor>& b);
Var matmul(const Operand<Var>& a, const Operand<Var>& b);
Var matmul(const Operand<Var>& a, const Operand<Tensor>& b);  // a Tensor is a constant
Var matmul(const Operand<Tensor>& a, const Operand<Var>& b);

// out = beta * out + a b, in place; beta is 0 (out may be uninitialised) or 1.
void matmul_into(Tensor& out, Real beta, const Operand<Tensor>& a, const Operand<Tensor>& b);

// scale r^T + a b for matrices r (n, m), a (m, k) and b (k, n), without a pass over r^T of its own.
Tensor transpose_plus_product(Real scale, const Tensor& r, const Operand<Tensor>& a,
                              const Operand<Tensor>& b);

// For kernels that are made of products: a row-major matrix somewhere in memory, whose rows begin
// `leading` elements apart, read as it is or transposed.
struct MatrixView {
  const Real* data;
  Index rows, columns;  // as read
  Index leading;
  bool is_transposed = false;

  const Real* from_row(Index i) const { return data + (is_transposed ? i : i * leading); }
  const Real* from_column(Index j) const { return data + (is_transposed ? j * leading : j); }
};
MatrixView matrix(const Real* data, Index rows, Index columns);
MatrixView transposed(const MatrixView& x);

// out = beta * out + a b on the calling thread alone.
void product(Real* out, Index leading, Real beta, const MatrixView& a, const MatrixView& b);

}  // namespace backflow::inline BACKFLOW_PRECISION

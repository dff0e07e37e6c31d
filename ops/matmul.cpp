#include "backflow/ops/matmul.h"

#include <cblas.h>

#include "backflow/engine/parallel.h"
#include "backflow/ops/blas.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

MatrixView view(const Operand<Tensor>& x) {
  const MatrixView stored = matrix(x.value.data(), x.value.size(0), x.value.size(1));
  return x.is_transposed ? transposed(stored) : stored;
}

Operand<Tensor> flipped(const Operand<Tensor>& x) { return {x.value, !x.is_transposed}; }

// Tiles at most 200 wide keep OpenBLAS within 3% of its rate on whole matrices; an even number of
// equal ones keeps two threads busy to the end. Small products are not worth a second thread.
Index tile_width(Index length, double flop) {
  if (flop < 1e6 || length <= 200) return std::max<Index>(1, length);
  const Index pairs = (length + 399) / 400;
  return (length + 2 * pairs - 1) / (2 * pairs);
}

Shape product_shape(const Operand<Tensor>& a, const Operand<Tensor>& b) {
  const Shape &p = a.value.shape(), &q = b.value.shape();
  const auto mark = [](bool is_transposed) { return is_transposed ? "^T" : ""; };
  if (p.rank() != 2 || q.rank() != 2) fail("matmul", "two matrices expected: ", p, " x ", q);
  const MatrixView A = view(a), B = view(b);
  if (A.columns != B.rows)
    fail("matmul", "inner sizes differ: ", p, mark(a.is_transposed), " x ", q,
         mark(b.is_transposed));
  return {A.rows, B.columns};
}

}  // namespace

MatrixView matrix(const Real* data, Index rows, Index columns) {
  return {data, rows, columns, std::max<Index>(1, columns)};
}

MatrixView transposed(const MatrixView& x) {
  return {x.data, x.columns, x.rows, x.leading, !x.is_transposed};
}

void product(Real* out, Index leading, Real beta, const MatrixView& a, const MatrixView& b) {
  prepare_blas();
#ifdef BACKFLOW_DOUBLE
  const auto gemm = cblas_dgemm;
#else
  const auto gemm = cblas_sgemm;
#endif
  const auto mode = [](const MatrixView& x) { return x.is_transposed ? CblasTrans : CblasNoTrans; };
  gemm(CblasRowMajor, mode(a), mode(b), a.rows, b.columns, a.columns, 1, a.data, a.leading, b.data,
       b.leading, beta, out, leading);
}

void matmul_into(Tensor& out, Real beta, const Operand<Tensor>& a, const Operand<Tensor>& b) {
  const Shape shape = product_shape(a, b);
  if (!(out.shape() == shape))
    fail("matmul", "the product has the shape ", shape, ", its place ", out.shape());
  const MatrixView A = view(a), B = view(b);
  const Index m = A.rows, n = B.columns;
  Real* y = out.mutable_data();
  if (A.columns == 0 && beta == 0) std::fill_n(y, m * n, Real(0));
  if (m == 0 || n == 0 || A.columns == 0) return;
  const double flop = 2.0 * m * n * A.columns;
  if (m > n) {
    parallel_for(m, tile_width(m, flop), [&](Index i, Index end) {
      MatrixView rows = A;
      rows.data = A.from_row(i);
      rows.rows = end - i;
      product(y + i * n, n, beta, rows, B);
    });
  } else {
    parallel_for(n, tile_width(n, flop), [&](Index j, Index end) {
      MatrixView columns = B;
      columns.data = B.from_column(j);
      columns.columns = end - j;
      product(y + j, n, beta, A, columns);
    });
  }
}

Tensor matmul(const Operand<Tensor>& a, const Operand<Tensor>& b) {
  Tensor out = Tensor::empty(product_shape(a, b));
  matmul_into(out, 0, a, b);
  return out;
}

// For C = A B, each read as it is or transposed, dA = g B^T and dB = A^T g: kernels of BLAS add
// them into place. A gradient belongs to the matrix as it is stored, so that of a transposed
// operand is transposed: (p q)^T = q^T p^T.
static void add_product(Accumulator& into, bool transpose, const Operand<Tensor>& p,
                        const Operand<Tensor>& q) {
  into.add_in_place([&](Tensor& sum, Real beta) {
    transpose ? matmul_into(sum, beta, flipped(q), flipped(p)) : matmul_into(sum, beta, p, q);
  });
}

Var matmul(const Operand<Var>& a, const Operand<Var>& b) {
  const Operand<Tensor> A{a.value.value(), a.is_transposed}, B{b.value.value(), b.is_transposed};
  return record(
      "matmul", matmul(A, B),
      grad(a.value, [swap = A.is_transposed, Bt = flipped(B)](
                        const Tensor& g, Accumulator& into) { add_product(into, swap, g, Bt); }),
      grad(b.value, [swap = B.is_transposed, At = flipped(A)](const Tensor& g, Accumulator& into) {
        add_product(into, swap, At, g);
      }));
}

Var matmul(const Operand<Var>& a, const Operand<Tensor>& b) {
  return matmul(a, Operand<Var>(b.value, b.is_transposed));
}
Var matmul(const Operand<Tensor>& a, const Operand<Var>& b) {
  return matmul(Operand<Var>(a.value, a.is_transposed), b);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

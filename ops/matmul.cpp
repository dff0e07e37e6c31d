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

// C = op(A) op(B): d op(A) = g op(B)^T and d op(B) = op(A)^T g, added into place by BLAS.
Var matmul(const Operand<Var>& a, const Operand<Var>& b) {
  const Operand<Tensor> A{a.value.value(), a.is_transposed}, B{b.value.value(), b.is_transposed};
  const auto flipped = [](const Operand<Tensor>& x) {
    return Operand<Tensor>{x.value, !x.is_transposed};
  };
  const auto product_into = [](Accumulator& into, bool swap, const Operand<Tensor>& p,
                               const Operand<Tensor>& q) {
    into.add_product([&](Tensor& sum, Real beta) {
      if (swap) {
        matmul_into(sum, beta, Operand<Tensor>{q.value, !q.is_transposed},
                    Operand<Tensor>{p.value, !p.is_transposed});
      } else {
        matmul_into(sum, beta, p, q);
      }
    });
  };
  return record(
      "matmul", matmul(A, B),
      grad(a.value, [product_into, swap = A.is_transposed, Bt = flipped(B)](
                        const Tensor& g, Accumulator& into) { product_into(into, swap, g, Bt); }),
      grad(b.value, [product_into, swap = B.is_transposed, At = flipped(A)](
                        const Tensor& g, Accumulator& into) { product_into(into, swap, At, g); }));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

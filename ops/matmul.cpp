#include "ops/matmul.h"

#include <cblas.h>

#include "engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Before main(), because LAPACK in linalg.cpp must not use threads of its own either.
[[maybe_unused]] const bool single_threaded = (openblas_set_num_threads(1), true);

// One matrix as BLAS sees it: element (i, j) of op(A) is data[i * row + j * column].
struct View {
  const Real* data;
  bool is_transposed;
  Index leading, rows, columns;

  explicit View(const Operand<Tensor>& x)
      : data(x.value.data()),
        is_transposed(x.is_transposed),
        leading(std::max<Index>(1, x.value.size(1))),
        rows(x.value.size(x.is_transposed ? 1 : 0)),
        columns(x.value.size(x.is_transposed ? 0 : 1)) {}

  const Real* from_row(Index i) const { return data + (is_transposed ? i : i * leading); }
  const Real* from_column(Index j) const { return data + (is_transposed ? j * leading : j); }
  CBLAS_TRANSPOSE mode() const { return is_transposed ? CblasTrans : CblasNoTrans; }
};

void gemm(const View& a, const Real* a_data, const View& b, const Real* b_data, Index m, Index n,
          Real beta, Real* out, Index leading) {
#ifdef BACKFLOW_DOUBLE
  const auto blas_gemm = cblas_dgemm;
#else
  const auto blas_gemm = cblas_sgemm;
#endif
  blas_gemm(CblasRowMajor, a.mode(), b.mode(), m, n, a.columns, 1, a_data, a.leading, b_data,
            b.leading, beta, out, leading);
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
  const View A(a), B(b);
  if (A.columns != B.rows)
    fail("matmul", "inner sizes differ: ", p, mark(a.is_transposed), " x ", q,
         mark(b.is_transposed));
  return {A.rows, B.columns};
}

}  // namespace

void matmul_into(Tensor& out, Real beta, const Operand<Tensor>& a, const Operand<Tensor>& b) {
  const Shape shape = product_shape(a, b);
  if (!(out.shape() == shape))
    fail("matmul", "the product has the shape ", shape, ", its place ", out.shape());
  const View A(a), B(b);
  const Index m = A.rows, n = B.columns;
  Real* y = out.mutable_data();
  if (A.columns == 0 && beta == 0) std::fill_n(y, m * n, Real(0));
  if (m == 0 || n == 0 || A.columns == 0) return;
  const double flop = 2.0 * m * n * A.columns;
  if (m > n) {
    parallel_for(m, tile_width(m, flop), [&](Index i, Index end) {
      gemm(A, A.from_row(i), B, B.data, end - i, n, beta, y + i * n, n);
    });
  } else {
    parallel_for(n, tile_width(n, flop), [&](Index j, Index end) {
      gemm(A, A.data, B, B.from_column(j), m, end - j, beta, y + j, n);
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

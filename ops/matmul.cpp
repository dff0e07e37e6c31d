#include "backflow/ops/matmul.h"

#include <cblas.h>

#include "backflow/engine/parallel.h"
#include "backflow/ops/blas.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

bool is_batch(const Operand<Tensor>& x) { return x.value.rank() == 3; }

MatrixView as_read(const Operand<Tensor>& x, const MatrixView& stored) {
  return x.is_transposed ? transposed(stored) : stored;
}

// Matrix number i of a batch; a single matrix is every matrix.
MatrixView view(const Operand<Tensor>& x, Index i = 0) {
  const Index rows = x.value.shape()[-2], columns = x.value.shape()[-1];
  const Index offset = is_batch(x) ? i * rows * columns : 0;
  return as_read(x, matrix(x.value.data() + offset, rows, columns));
}

// The matrices of a batch one below another, (B, m, k) as (B m, k); if transposed, side by side.
MatrixView all_in_one(const Operand<Tensor>& x) {
  const Shape& shape = x.value.shape();
  return as_read(x, matrix(x.value.data(), shape[0] * shape[1], shape[2]));
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
  const auto is_matrix = [](const Shape& x) { return x.rank() == 2 || x.rank() == 3; };
  if (!is_matrix(p) || !is_matrix(q))
    fail("matmul", "matrices or batches of them expected: ", p, " x ", q);
  if (is_batch(a) && is_batch(b) && p[0] != q[0])
    fail("matmul", "batches of different sizes: ", p, " x ", q);
  const MatrixView A = view(a), B = view(b);
  if (A.columns != B.rows)
    fail("matmul", "inner sizes differ: ", p, mark(a.is_transposed), " x ", q,
         mark(b.is_transposed));
  if (is_batch(a) || is_batch(b)) return {is_batch(a) ? p[0] : q[0], A.rows, B.columns};
  return {A.rows, B.columns};
}

double flop_of(const MatrixView& A, const MatrixView& B) {
  return 2.0 * static_cast<double>(A.rows) * static_cast<double>(B.columns) *
         static_cast<double>(A.columns);
}

// y = beta * y + A B in tiles.
void multiply(Real* y, Real beta, const MatrixView& A, const MatrixView& B) {
  const Index m = A.rows, n = B.columns;
  if (A.columns == 0 && beta == 0) std::fill_n(y, m * n, Real(0));
  if (m == 0 || n == 0 || A.columns == 0) return;
  const double flop = flop_of(A, B);
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

// Each product of a batch. Matrices that are cut into tiles follow one another, smaller ones are
// shared among the threads, as many at a time as pay for waking one.
void multiply_each(Real* y, Real beta, const Operand<Tensor>& a, const Operand<Tensor>& b,
                   Index count) {
  const MatrixView A = view(a), B = view(b);
  const Index size = A.rows * B.columns, longest = std::max(A.rows, B.columns);
  const auto multiply_some = [&](Index i, Index end) {
    for (; i < end; ++i) multiply(y + i * size, beta, view(a, i), view(b, i));
  };
  const double flop = flop_of(A, B);
  if (tile_width(longest, flop) < longest) return multiply_some(0, count);
  parallel_for(count, 1 + static_cast<Index>(1e5 / (1 + flop)), multiply_some);
}

// sum = beta * sum + a_0 b_0 + a_1 b_1 + ...: the gradient of a matrix that met a whole batch. It
// is a single product if the matrices lie in memory as that one needs them.
void sum_of_products_into(Tensor& sum, Real beta, const Operand<Tensor>& a,
                          const Operand<Tensor>& b) {
  const Index count = a.value.size(0);
  Real* y = sum.mutable_data();
  if (a.is_transposed && !b.is_transposed) return multiply(y, beta, all_in_one(a), all_in_one(b));
  if (count == 0 && beta == 0) std::fill_n(y, sum.size(), Real(0));
  for (Index i = 0; i < count; ++i) multiply(y, i == 0 ? beta : 1, view(a, i), view(b, i));
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
  Real* y = out.mutable_data();
  if (shape.rank() == 2) {
    multiply(y, beta, view(a), view(b));
  } else if (!is_batch(b) && !a.is_transposed) {
    multiply(y, beta, all_in_one(a), view(b));
  } else {
    multiply_each(y, beta, a, b, shape[0]);
  }
}

Tensor matmul(const Operand<Tensor>& a, const Operand<Tensor>& b) {
  Tensor out = Tensor::empty(product_shape(a, b));
  matmul_into(out, 0, a, b);
  return out;
}

// For C = A B, each read as it is or transposed, dA = g B^T and dB = A^T g: kernels of BLAS add
// them into place. A gradient belongs to the matrix as it is stored, so that of a transposed
// operand is transposed: (p q)^T = q^T p^T. That of a single matrix beside a batch is a sum.
static void add_product(Accumulator& into, bool transpose, const Operand<Tensor>& p,
                        const Operand<Tensor>& q) {
  into.add_in_place([&](Tensor& sum, Real beta) {
    const auto add = sum.rank() == 2 && is_batch(p) ? sum_of_products_into : matmul_into;
    transpose ? add(sum, beta, flipped(q), flipped(p)) : add(sum, beta, p, q);
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

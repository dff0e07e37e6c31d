#include "backflow/ops/matmul.h"

#include <cblas.h>

#include "backflow/engine/parallel.h"
#include "backflow/ops/blas.h"
#include "backflow/ops/transpose_block.h"
#include "backflow/ops/workspace.h"

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

// How a product is cut, by its shape alone: into tiles of so many rows and columns, or, where that
// would be a single tile, into products of pieces of the inner axis, which are added up.
struct Cut {
  Index m, n, k;                           // of the product
  Index rows = m, columns = n, inner = k;  // of a part of it

  Index parts_across() const { return (n + columns - 1) / columns; }
  Index tiles() const { return (m + rows - 1) / rows * parts_across(); }
  Index pieces() const { return (k + inner - 1) / inner; }
  bool is_whole() const { return rows == m && columns == n && inner == k; }
  double flop() const {
    return 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k);
  }
};

// Equal parts but for the last, of whole vectors.
Index part_of(Index length, Index parts) {
  constexpr Index vector = 8;
  const Index equal = (length + parts - 1) / parts;
  return parts == 1 ? length : (equal + vector - 1) / vector * vector;
}

// Each tile packs its rows of A and its columns of B, so OpenBLAS comes within 6% of its rate on
// whole matrices where a tile is 256 on one side and 512 on the other. An even number of them keeps
// two threads busy to the end, four parts of the longer side give four something to do. Small
// products are not worth a second thread.
Cut cut_of(const MatrixView& A, const MatrixView& B) {
  Cut cut{A.rows, B.columns, A.columns};
  const Index longer = std::max(cut.m, cut.n), shorter = std::min(cut.m, cut.n);
  if (cut.flop() < 1e6) return cut;
  if (longer > 200) {
    const Index parts = longer <= 400 ? 2 : std::max<Index>(4, 2 * ((longer + 511) / 512));
    const Index along = part_of(longer, parts), across = part_of(shorter, (shorter + 511) / 512);
    cut.rows = cut.m > cut.n ? along : across;
    cut.columns = cut.m > cut.n ? across : along;
  } else if (cut.flop() >= 2e6 && cut.k >= 1024) {
    cut.inner = part_of(cut.k, 2 * std::min<Index>(8, cut.k / 1024));
  }
  return cut;
}

MatrixView row_range(MatrixView x, Index begin, Index count) {
  x.data = x.from_row(begin);
  x.rows = count;
  return x;
}
MatrixView column_range(MatrixView x, Index begin, Index count) {
  x.data = x.from_column(begin);
  x.columns = count;
  return x;
}

// before(row, column, rows, columns) is called before the product of a tile, on its thread.
template <class Before>
void multiply_in_tiles(Real* y, Real beta, const MatrixView& A, const MatrixView& B, const Cut& cut,
                       const Before& before) {
  parallel_for(cut.tiles(), 1, [&](Index tile, Index end) {
    for (; tile < end; ++tile) {
      const Index i = tile / cut.parts_across() * cut.rows;
      const Index j = tile % cut.parts_across() * cut.columns;
      const Index rows = std::min(cut.rows, cut.m - i), columns = std::min(cut.columns, cut.n - j);
      before(i, j, rows, columns);
      product(y + i * cut.n + j, cut.n, beta, row_range(A, i, rows), column_range(B, j, columns));
    }
  });
}

// The first piece goes where the sum is to be, the others beside it; then they are added in order.
void multiply_in_pieces(Real* y, Real beta, const MatrixView& A, const MatrixView& B,
                        const Cut& cut) {
  const Index size = cut.m * cut.n, pieces = cut.pieces();
  const Workspace others((pieces - 1) * size);
  parallel_for(pieces, 1, [&](Index piece, Index end) {
    for (; piece < end; ++piece) {
      const Index begin = piece * cut.inner, count = std::min(cut.inner, cut.k - begin);
      product(piece == 0 ? y : others.data() + (piece - 1) * size, cut.n, piece == 0 ? beta : 0,
              column_range(A, begin, count), row_range(B, begin, count));
    }
  });
  for (Index piece = 1; piece < pieces; ++piece) {
    const Real* const other = others.data() + (piece - 1) * size;
    for (Index i = 0; i < size; ++i) y[i] += other[i];
  }
}

// y = beta * y + A B.
void multiply(Real* y, Real beta, const MatrixView& A, const MatrixView& B) {
  const Cut cut = cut_of(A, B);
  if (cut.k == 0 && beta == 0) std::fill_n(y, cut.m * cut.n, Real(0));
  if (cut.m == 0 || cut.n == 0 || cut.k == 0) return;
  if (cut.pieces() > 1) return multiply_in_pieces(y, beta, A, B, cut);
  multiply_in_tiles(y, beta, A, B, cut, [](Index, Index, Index, Index) {});
}

// Each product of a batch. Matrices that are cut follow one another, smaller ones are shared among
// the threads, as many at a time as pay for waking one.
void multiply_each(Real* y, Real beta, const Operand<Tensor>& a, const Operand<Tensor>& b,
                   Index count) {
  const MatrixView A = view(a), B = view(b);
  const Index size = A.rows * B.columns;
  const auto multiply_some = [&](Index i, Index end) {
    for (; i < end; ++i) multiply(y + i * size, beta, view(a, i), view(b, i));
  };
  const Cut cut = cut_of(A, B);
  if (!cut.is_whole()) return multiply_some(0, count);
  parallel_for(count, 1 + static_cast<Index>(1e5 / (1 + cut.flop())), multiply_some);
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

// The sum begins with the transpose, tile by tile: so what is written first is still in the cache
// when the product is added.
Tensor transpose_plus_product(Real scale, const Tensor& r, const Operand<Tensor>& a,
                              const Operand<Tensor>& b) {
  const Shape shape = product_shape(a, b);
  if (shape.rank() != 2 || !(r.shape() == Shape{shape[1], shape[0]}))
    fail("matmul", "the product has the shape ", shape, ", the matrix to be transposed ",
         r.shape());
  Tensor out = Tensor::empty(shape);
  const MatrixView A = view(a), B = view(b);
  const Cut cut = cut_of(A, B);
  const auto begin = [&, y = out.mutable_data(), m = cut.m, n = cut.n](Index i, Index j, Index rows,
                                                                       Index columns) {
    transpose_block(r.data() + j * m + i, m, columns, rows, y + i * n + j, n,
                    [scale](const auto& x) { return scale * x; });
  };
  if (out.size() == 0) return out;
  if (cut.k > 0 && cut.pieces() == 1) {
    multiply_in_tiles(out.mutable_data(), 1, A, B, cut, begin);
  } else {
    begin(0, 0, cut.m, cut.n);
    multiply(out.mutable_data(), 1, A, B);
  }
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

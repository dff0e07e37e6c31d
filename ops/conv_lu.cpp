#include "backflow/ops/conv_lu.h"

#include <cblas.h>

#include <cmath>

#include "backflow/engine/parallel.h"
#include "backflow/ops/blas.h"
#include "backflow/ops/lapack.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Every matrix in this file is column-major, as BLAS and LAPACK want it.
namespace {

// A matrix, or a part of one: element (i, j) is data[i + j * leading].
struct View {
  double* data;
  int rows, columns, leading;

  double* at(Index i, Index j) const { return data + i + j * leading; }
  View part(int i, int j, int height, int width) const {
    return {at(i, j), height, width, leading};
  }
};

// c = beta c - a b.
void subtract_product(const View& c, double beta, const View& a, const View& b) {
  prepare_blas();
  cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, c.rows, c.columns, a.columns, -1, a.data,
              a.leading, b.data, b.leading, beta, c.data, c.leading);
}

// b = a^-1 b or, from the right, b a^-1; a is the unit lower or the upper triangle of a view.
void divide(const View& b, CBLAS_SIDE side, CBLAS_UPLO triangle, const View& a) {
  prepare_blas();
  cblas_dtrsm(CblasColMajor, side, triangle, CblasNoTrans,
              triangle == CblasLower ? CblasUnit : CblasNonUnit, b.rows, b.columns, 1, a.data,
              a.leading, b.data, b.leading);
}

// Exchanges row i and row exchanges[i] - 1, for i = 0, 1, ..., count - 1.
void exchange_rows(const View& a, const int* exchanges, int count) {
  const int one = 1;
  dlaswp_(&a.columns, a.data, &a.leading, &one, &count, exchanges, &one);
}

// A window on the diagonal of a band and its parts, where block row and block column 0, m numbers
// wide, are set apart from the later ones.
struct Window {
  View diagonal, right, below, rest;  // (0, 0), (0, later), (later, 0), (later, later)
  View top, left, after, all;         // (0, all), (all, 0), (all, later), (all, all)

  Window(const View& window, int m)
      : diagonal(window.part(0, 0, m, m)),
        right(window.part(0, m, m, window.columns - m)),
        below(window.part(m, 0, window.rows - m, m)),
        rest(window.part(m, m, window.rows - m, window.columns - m)),
        top(window.part(0, 0, m, window.columns)),
        left(window.part(0, 0, window.rows, m)),
        after(window.part(0, m, window.rows, window.columns - m)),
        all(window) {}
};

// How an n x n matrix is cut: into blocks of m rows, of which each meets `reach` neighbours on
// either side. Eliminating block column k involves the `reach` block rows after it and, since
// these may be exchanged, the 2 reach block columns after it; at the end, fewer.
struct Blocking {
  int blocks, m, reach;

  int n() const { return blocks * m; }
  int below(int k) const { return std::min(reach, blocks - 1 - k); }
  int right(int k) const { return std::min(2 * reach, blocks - 1 - k); }

  // A band, 3 reach + 1 blocks high, is stored as a dense matrix with columns so close to each
  // other that they overlap outside of it: its windows are matrices that BLAS works on in place.
  int leading() const { return std::min(n(), (3 * reach + 1) * m); }
  std::size_t size() const { return n() * (1 + std::size_t(leading())); }
  View whole(double* band) const { return {band, n(), n(), leading()}; }

  Window window(double* band, int k, int below, int right) const {
    return {whole(band).part(k * m, k * m, (1 + below) * m, (1 + right) * m), m};
  }
  Window of_factors(double* band, int k) const { return window(band, k, below(k), right(k)); }
  Window of_inverse(double* band, int k) const { return window(band, k, right(k), below(k)); }

  // What the factorization and the gradient cost.
  double flop() const {
    double cubes = 0;
    for (int k = 0; k < blocks; ++k)
      cubes += 8 / 3.0 + 4 * below(k) + 2 * right(k) + 6.0 * below(k) * right(k);
    return cubes * m * m * m;
  }
};

// One block for each image row or, where that is cheaper, one block for the whole matrix.
Blocking blocking_of(int height, int row, int pad) {
  const Blocking banded{height, row, std::min(pad, height - 1)}, dense{1, height * row, 0};
  return banded.flop() < dense.flop() ? banded : dense;
}

}  // namespace

struct ConvLU::Factors {
  Shape kernel;
  Index channels, height, width;
  Blocking blocking;
  std::unique_ptr<double[]> band;
  std::vector<int> pivots;
  int zero_pivot = 0;  // 1-based; 0: none

  Factors(const Tensor& w, Index height, Index width);
  void factorize();
  void solve(const View& x) const;
  View lu() const { return blocking.whole(band.get()); }
  Window window(int k) const { return blocking.of_factors(band.get(), k); }
  const int* exchanges(int k) const { return pivots.data() + k * blocking.m; }  // from 1 in block k
  template <class Visit>
  void for_each_weight(Visit visit) const;
};

// visit(row, column, i) for each element of T that is an element of w, w[i].
template <class Visit>
void ConvLU::Factors::for_each_weight(Visit visit) const {
  const Index C = channels, K = kernel[2], L = kernel[3];
  for (Index i = 0; i < height; ++i)
    for (Index j = 0; j < width; ++j)
      for (Index u = 0; u < K; ++u)
        for (Index v = 0; v < L; ++v) {
          const Index y = i + u - K / 2, x = j + v - L / 2;
          if (y < 0 || y >= height || x < 0 || x >= width) continue;
          for (Index o = 0; o < C; ++o)
            for (Index c = 0; c < C; ++c)
              visit((i * width + j) * C + o, (y * width + x) * C + c,
                    ((o * C + c) * K + u) * L + v);
        }
}

ConvLU::Factors::Factors(const Tensor& w, Index height, Index width)
    : kernel(w.shape()),
      channels(kernel[0]),
      height(height),
      width(width),
      blocking(blocking_of(static_cast<int>(height), static_cast<int>(width * channels),
                           static_cast<int>(kernel[2] / 2))),
      band(std::make_unique<double[]>(blocking.size())),
      pivots(blocking.n()) {
  const View T = lu();
  for_each_weight([&](Index row, Index column, Index i) { *T.at(row, column) = w[i]; });
  factorize();
}

// Block column after block column. As in LAPACK's dgbtrf, exchanges of rows leave the columns on
// the left alone: T = P0^T L0 P1^T L1 ... U.
void ConvLU::Factors::factorize() {
  prepare_blas();
  for (int k = 0; k < blocking.blocks; ++k) {
    const Window a = window(k);
    int* const chosen = pivots.data() + k * blocking.m;
    int info = 0;
    dgetrf_(&a.left.rows, &a.left.columns, a.left.data, &a.left.leading, chosen, &info);
    if (info > 0) {
      zero_pivot = k * blocking.m + info;
      return;
    }
    exchange_rows(a.after, chosen, blocking.m);
    divide(a.right, CblasLeft, CblasLower, a.diagonal);
    subtract_product(a.rest, 1, a.below, a.right);
  }
}

static void check(const Tensor& w, Index height, Index width) {
  if (w.rank() != 4 || w.size(0) != w.size(1) || w.size(0) < 1)
    fail("conv_lu", "a kernel (C, C, K, L) expected, the shape is ", w.shape());
  if (w.size(2) % 2 == 0 || w.size(3) % 2 == 0)
    fail("conv_lu", "an odd kernel expected, the shape is ", w.shape());
  if (height < 1 || width < 1)
    fail("conv_lu", "images with pixels expected, the size is ", height, "x", width);
}

ConvLU::ConvLU(const Tensor& w, Index height, Index width) {
  check(w, height, width);
  factors_ = std::make_shared<const Factors>(w, height, width);
}

bool ConvLU::singular() const { return factors_->zero_pivot > 0; }

const ConvLU::Factors& ConvLU::regular(const char* op) const {
  const Factors& f = *factors_;
  if (singular())
    fail(op, "the convolution of ", f.height, "x", f.width, " images with a ", f.kernel,
         " kernel is singular: pivot ", f.zero_pivot, " is 0");
  return f;
}

double ConvLU::log_abs_det() const {
  const Factors& f = regular("conv_logabsdet");
  double sum = 0;
  for (int i = 0; i < f.blocking.n(); ++i) sum += std::log(std::abs(*f.lu().at(i, i)));
  return sum;
}

// Let S be what remains of T before block column k is eliminated, and S' after. From
//
//   P S = | D 0 | | E R  |     follows    S^-1 = | E^-1  -E^-1 R S'^-1 | |  D^-1    0 | P,
//         | B I | | 0 S' |                       | 0          S'^-1    | | -B D^-1  I |
//
// D and E the triangles on the diagonal, B below and R right of them. B is `reach` blocks high and
// R 2 reach wide, so a window of S^-1 follows from the one of S'^-1 that it overlaps. The steps for
// smaller k do not come back to block column k + reach: there, these are the entries of T^-1.
static void inverse_window(const Window& z, const Window& a, const int* exchanges) {
  subtract_product(z.right, 0, a.right, z.rest);
  subtract_product(z.below, 0, z.rest, a.below);
  for (int j = 0; j < z.diagonal.columns; ++j)
    for (int i = 0; i < z.diagonal.rows; ++i) *z.diagonal.at(i, j) = i == j;
  subtract_product(z.diagonal, 1, z.right, a.below);
  divide(z.top, CblasLeft, CblasUpper, a.diagonal);
  divide(z.left, CblasRight, CblasLower, a.diagonal);
  for (int j = z.diagonal.columns - 1; j >= 0; --j)
    if (exchanges[j] != j + 1)
      cblas_dswap(z.all.rows, z.all.at(0, j), 1, z.all.at(0, exchanges[j] - 1), 1);
}

Tensor ConvLU::logdet_gradient() const {
  const Factors& f = regular("conv_logabsdet");
  // T^-1, within the band of T.
  const auto inverse = std::make_unique<double[]>(f.blocking.size());
  for (int k = f.blocking.blocks - 1; k >= 0; --k)
    inverse_window(f.blocking.of_inverse(inverse.get(), k), f.window(k), f.exchanges(k));

  std::vector<double> sum(f.kernel.size());
  const View Z = f.blocking.whole(inverse.get());
  f.for_each_weight([&](Index row, Index column, Index i) { sum[i] += *Z.at(column, row); });
  return {f.kernel, {sum.begin(), sum.end()}};
}

// x = T^-1 x for each column of x.
void ConvLU::Factors::solve(const View& x) const {
  const int m = blocking.m;
  const auto rows = [&](int k, int count) { return x.part(k * m, 0, count, x.columns); };
  for (int k = 0; k < blocking.blocks; ++k) {
    const Window a = window(k);
    exchange_rows(rows(k, a.all.rows), exchanges(k), m);
    divide(rows(k, m), CblasLeft, CblasLower, a.diagonal);
    subtract_product(rows(k + 1, a.below.rows), 1, a.below, rows(k, m));
  }
  for (int k = blocking.blocks - 1; k >= 0; --k) {
    const Window a = window(k);
    subtract_product(rows(k, m), 1, a.right, rows(k + 1, a.right.columns));
    divide(rows(k, m), CblasLeft, CblasUpper, a.diagonal);
  }
}

Tensor ConvLU::solve(const Tensor& z) const {
  const Factors& f = regular("conv_solve");
  if (z.rank() != 4 || !(z.shape() == Shape{z.size(0), f.channels, f.height, f.width}))
    fail("conv_solve", "images (B, ", f.channels, ", ", f.height, ", ", f.width,
         ") expected, the shape is ", z.shape());
  const Tensor images = permute(z, {0, 2, 3, 1});  // channels inside; for BLAS each is a column
  std::vector<double> x(images.data(), images.data() + images.size());
  const int n = f.blocking.n();
  constexpr Index images_per_chunk = 50;
  parallel_for(z.size(0), images_per_chunk, [&](Index begin, Index end) {
    f.solve({x.data() + begin * n, n, static_cast<int>(end - begin), n});
  });
  return permute(Tensor(images.shape(), {x.begin(), x.end()}), {0, 3, 1, 2});
}

Var conv_logabsdet(const Var& w, const ConvLU& lu) {
  return record("conv_logabsdet", static_cast<Real>(lu.log_abs_det()),
                grad(w, [lu](const Tensor& g) { return g * lu.logdet_gradient(); }));
}
Var conv_logabsdet(const Var& w, Index height, Index width) {
  return conv_logabsdet(w, ConvLU(w.value(), height, width));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

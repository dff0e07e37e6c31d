#include "backflow/ops/conv_lu.h"

#include "backflow/engine/parallel.h"
#include "backflow/ops/conv_logdet.h"
#include "backflow/ops/elimination.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Every matrix in this file is column-major, as BLAS and LAPACK want it.
namespace {

using Matrix = Columns<double>;

// A window on the diagonal of a band and its parts, where block row and block column 0, m numbers
// wide, are set apart from the later ones.
struct Window {
  Matrix diagonal, right, below, rest;  // (0, 0), (0, later), (later, 0), (later, later)
  Matrix left, after, all;              // (all, 0), (all, later), (all, all)

  Window(const Matrix& window, int m)
      : diagonal(window.part(0, 0, m, m)),
        right(window.part(0, m, m, window.columns - m)),
        below(window.part(m, 0, window.rows - m, m)),
        rest(window.part(m, m, window.rows - m, window.columns - m)),
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
  Matrix whole(double* band) const { return {band, n(), n(), leading()}; }

  Window window(double* band, int k, int below, int right) const {
    return {whole(band).part(k * m, k * m, (1 + below) * m, (1 + right) * m), m};
  }
  Window of_factors(double* band, int k) const { return window(band, k, below(k), right(k)); }
  Window of_inverse(double* band, int k) const { return window(band, k, right(k), below(k)); }

  // What the factorization and the gradient cost.
  double flop() const {
    double cubes = 0;
    for (int k = 0; k < blocks; ++k) cubes += 2 + 6.0 * below(k) * (1 + right(k));
    return cubes * m * m * m;
  }
};

// One block for each image row or, where that is cheaper, one block for the whole matrix.
Blocking blocking_of(int height, int row, int pad) {
  const Blocking banded{height, row, std::min(pad, height - 1)}, dense{1, height * row, 0};
  return banded.flop() < dense.flop() ? banded : dense;
}

// Let S be what remains of T before block column k is eliminated, and S' after. With its rows
// exchanged so that the pivots stand in D,
//
//   P S = | D R |,   S' = Q - B D^-1 R,   S^-1 = | D^-1 (I + R S'^-1 B D^-1)   -D^-1 R S'^-1 | P.
//         | B Q |                                | -S'^-1 B D^-1                S'^-1        |
//
// What is kept of the step is D^-1 in the place of D, R, and -B D^-1 in the place of B.
struct BandedFactors {
  Shape kernel;
  Index channels, height, width;
  Blocking blocking;
  std::vector<double> band;
  std::vector<int> exchanges;  // of each block column, counted from its first row
  int zero_pivot = 0;          // 1-based; 0: none
  double log_abs_det = 0;

  BandedFactors(const Tensor& w, Index height, Index width);
  void factorize();
  Tensor logdet_gradient() const;
  void solve(const Matrix& x) const;
  // BLAS asks for numbers that may be written even where it only reads them.
  double* data() const { return const_cast<double*>(band.data()); }
  Window window(int k) const { return blocking.of_factors(data(), k); }
  const int* exchanges_of(int k) const { return exchanges.data() + k * blocking.m; }
  template <class Visit>
  void for_each_weight(Visit visit) const;
};

// visit(row, column, i) for each element of T that is an element of w, w[i].
template <class Visit>
void BandedFactors::for_each_weight(Visit visit) const {
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

BandedFactors::BandedFactors(const Tensor& w, Index height, Index width)
    : kernel(w.shape()),
      channels(kernel[0]),
      height(height),
      width(width),
      blocking(blocking_of(static_cast<int>(height), static_cast<int>(width * channels),
                           static_cast<int>(kernel[2] / 2))),
      band(blocking.size()),
      exchanges(blocking.n()) {
  std::fill_n(data(), blocking.size(), 0.0);
  const Matrix T = blocking.whole(data());
  for_each_weight([&](Index row, Index column, Index i) { *T.at(row, column) = w[i]; });
  factorize();
}

// Block column after block column. As in LAPACK's dgbtrf, exchanges of rows leave the columns on
// the left alone.
void BandedFactors::factorize() {
  Elimination<double> elimination((1 + blocking.reach) * blocking.m, blocking.m);
  for (int k = 0; k < blocking.blocks; ++k) {
    const Window a = window(k);
    int* const chosen = exchanges.data() + k * blocking.m;
    if (const int zero = elimination.eliminate(a.left, 0, chosen)) {
      zero_pivot = k * blocking.m + zero;
      return;
    }
    if (a.after.columns == 0) continue;
    exchange_rows(a.after, chosen, blocking.m);
    add_product(a.rest, 1.0, 1.0, a.below, a.right);
  }
  log_abs_det = elimination.log_abs_det();
}

// The window of S^-1 from the one of S'^-1 that it overlaps: B is `reach` blocks high and R
// 2 reach wide. The steps for smaller k do not come back to block column k + reach: there, these
// are the entries of T^-1.
void inverse_window(const Window& z, const Window& a, const int* exchanges, double* work) {
  const int m = z.diagonal.rows;
  copy(z.diagonal, a.diagonal);
  if (z.right.columns > 0) {
    const Matrix product{work, m, z.right.columns, m};
    add_product(product, 0.0, 1.0, a.right, z.rest);
    add_product(z.right, 0.0, -1.0, a.diagonal, product);
    add_product(z.below, 0.0, 1.0, z.rest, a.below);
    add_product(z.diagonal, 1.0, 1.0, z.right, a.below);
  }
  exchange_columns_back(z.all, exchanges, m);
}

Tensor BandedFactors::logdet_gradient() const {
  // T^-1, within the band of T.
  const int m = blocking.m;
  const PooledMemory<double> inverse(blocking.size()), work(std::size_t(m) * m * blocking.reach);
  for (int k = blocking.blocks - 1; k >= 0; --k)
    inverse_window(blocking.of_inverse(inverse.data(), k), window(k), exchanges_of(k), work.data());

  std::vector<double> sum(kernel.size());
  const Matrix Z = blocking.whole(inverse.data());
  for_each_weight([&](Index row, Index column, Index i) { sum[i] += *Z.at(column, row); });
  return {kernel, {sum.begin(), sum.end()}};
}

// x = T^-1 x for each column of x: down the block rows, then up.
void BandedFactors::solve(const Matrix& x) const {
  const int m = blocking.m;
  const auto rows = [&](int k, int count) { return x.part(k * m, 0, count, x.columns); };
  const PooledMemory<double> scratch(std::size_t(m) * x.columns);
  const Matrix moved{scratch.data(), m, x.columns, m};
  for (int k = 0; k < blocking.blocks; ++k) {
    const Window a = window(k);
    exchange_rows(rows(k, a.all.rows), exchanges_of(k), m);
    if (a.below.rows > 0) add_product(rows(k + 1, a.below.rows), 1.0, 1.0, a.below, rows(k, m));
  }
  for (int k = blocking.blocks - 1; k >= 0; --k) {
    const Window a = window(k);
    if (a.right.columns > 0)
      add_product(rows(k, m), 1.0, -1.0, a.right, rows(k + 1, a.right.columns));
    copy(moved, rows(k, m));
    add_product(rows(k, m), 0.0, 1.0, a.diagonal, moved);
  }
}

}  // namespace

struct ConvLU::Factors : BandedFactors {
  using BandedFactors::BandedFactors;
};

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

double ConvLU::log_abs_det() const { return regular("conv_logabsdet").log_abs_det; }
Tensor ConvLU::logdet_gradient() const { return regular("conv_logabsdet").logdet_gradient(); }

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

LogAbsDet conv_logabsdet_in_real(const Tensor& w, Index height, Index width) {
  check(w, height, width);
  if (const auto found = conv_logabsdet_by_blocks(w, height, width)) return *found;
  const ConvLU lu(w, height, width);
  return {lu.log_abs_det(), lu.logdet_gradient()};
}

}  // namespace backflow::inline BACKFLOW_PRECISION

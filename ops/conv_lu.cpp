#include "ops/conv_lu.h"

#include <cblas.h>

#include <atomic>
#include <cmath>

#include "engine/parallel.h"
#include "ops/pointwise.h"
#include "ops/shape.h"

// LAPACK, which is inside OpenBLAS. Every matrix in this file is column-major, as it wants them.
extern "C" {
void dgetrf_(const int* m, const int* n, double* a, const int* lda, int* pivots, int* info);
void dlaswp_(const int* n, double* a, const int* lda, const int* first, const int* last,
             const int* pivots, const int* increment);
}

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// As in matmul.cpp, which a program that uses this file need not contain.
[[maybe_unused]] const bool single_threaded = (openblas_set_num_threads(1), true);

std::atomic<Index> factorizations = 0;

// A matrix inside a larger one: element (i, j) is data[i + j * leading].
struct View {
  double* data;
  int rows, columns, leading;
};

// c = beta c - a b.
void subtract_product(const View& c, double beta, const View& a, const View& b) {
  cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, c.rows, c.columns, a.columns, -1, a.data,
              a.leading, b.data, b.leading, beta, c.data, c.leading);
}

// b = a^-1 b or, from the right, b a^-1, where a holds a unit lower L and an upper U: a is one.
void divide(const View& b, CBLAS_SIDE side, CBLAS_UPLO triangle, const View& a) {
  cblas_dtrsm(CblasColMajor, side, triangle, CblasNoTrans,
              triangle == CblasLower ? CblasUnit : CblasNonUnit, b.rows, b.columns, 1, a.data,
              a.leading, b.data, b.leading);
}

// The four parts of a square window on the diagonal of a band.
struct Window {
  View diagonal, right, below, rest;

  View top() const {
    return {diagonal.data, diagonal.rows, diagonal.columns + right.columns, diagonal.leading};
  }
  View left() const {
    return {diagonal.data, diagonal.rows + below.rows, diagonal.columns, diagonal.leading};
  }
  View all() const { return {diagonal.data, left().rows, top().columns, diagonal.leading}; }
};

// How an n x n matrix is cut: into blocks of m rows, of which each meets `reach` neighbours on
// either side. Eliminating block column k involves the `below(k)` block rows after it and, since
// their rows may be exchanged, the `right(k)` = 2 reach block columns after it; at the end, fewer.
struct Layout {
  int blocks, m, reach;

  int n() const { return blocks * m; }
  int below(int k) const { return std::min(reach, blocks - 1 - k); }
  int right(int k) const { return std::min(2 * reach, blocks - 1 - k); }

  // A band is stored as a dense matrix with columns so close to each other that they overlap
  // outside the band: so each window of it is a matrix that BLAS can work on in place.
  int leading() const { return std::min(n(), (3 * reach + 2) * m); }
  std::size_t size() const { return n() * (std::size_t{1} + leading()); }

  Window window(double* band, int k, int below, int right) const {
    const int ld = leading();
    double* const a = band + k * m * (std::size_t{1} + ld);
    double* const next = a + m * std::size_t(ld);
    return {{a, m, m, ld},
            {next, m, right * m, ld},
            {a + m, below * m, m, ld},
            {next + m, below * m, right * m, ld}};
  }
  Window factors(double* band, int k) const { return window(band, k, below(k), right(k)); }
  Window inverse(double* band, int k) const { return window(band, k, right(k), below(k)); }

  // Of the factorization and the gradient.
  double flop() const {
    double cubes = 0;
    for (int k = 0; k < blocks; ++k)
      cubes += 8 / 3.0 + 4 * below(k) + 2 * right(k) + 6.0 * below(k) * right(k);
    return cubes * m * m * m;
  }
};

Layout cheaper(const Layout& a, const Layout& b) { return b.flop() < a.flop() ? b : a; }

}  // namespace

struct ConvLU::Factors {
  Shape kernel;
  int channels, height, width;
  Layout layout;
  std::unique_ptr<double[]> lu;
  std::vector<int> pivots;  // of block k from k m on, counted from 1 at the block's first row
  int zero_pivot = 0;       // 1-based; 0: none

  Factors(const Tensor& w, Index height, Index width);
  void factorize();
  template <class Visit>
  void for_each_tap(Visit visit) const;
};

ConvLU::Factors::Factors(const Tensor& w, Index height, Index width)
    : kernel(w.shape()),
      channels(static_cast<int>(kernel[0])),
      height(static_cast<int>(height)),
      width(static_cast<int>(width)) {
  const int row = channels * this->width, pad = static_cast<int>(kernel[2] / 2);
  const Layout banded{this->height, row, std::min(pad, this->height - 1)};
  layout = cheaper(banded, {1, this->height * row, 0});
  lu = std::make_unique<double[]>(layout.size());
  pivots.resize(layout.n());
}

// visit(row, column, tap) for each tap and pixel of the output that meet a pixel of the input:
// T[row + o, column + c] is w[o, c] at this tap.
template <class Visit>
void ConvLU::Factors::for_each_tap(Visit visit) const {
  const int K = static_cast<int>(kernel[2]), L = static_cast<int>(kernel[3]);
  for (int i = 0; i < height; ++i)
    for (int j = 0; j < width; ++j)
      for (int u = 0; u < K; ++u)
        for (int v = 0; v < L; ++v) {
          const int y = i + u - K / 2, x = j + v - L / 2;
          if (0 <= y && y < height && 0 <= x && x < width)
            visit((i * width + j) * channels, (y * width + x) * channels, u * L + v);
        }
}

// Block column after block column. Exchanges of rows reach only to the right, as in LAPACK's
// dgbtrf: so T = P0 L0 P1 L1 ... U.
void ConvLU::Factors::factorize() {
  for (int k = 0; k < layout.blocks; ++k) {
    const Window a = layout.factors(lu.get(), k);
    const View panel = a.left(), right = a.right;
    int* const exchanges = pivots.data() + k * layout.m;
    const int one = 1;
    int info = 0;
    dgetrf_(&panel.rows, &panel.columns, panel.data, &panel.leading, exchanges, &info);
    if (info > 0) {
      zero_pivot = k * layout.m + info;
      return;
    }
    dlaswp_(&right.columns, right.data, &right.leading, &one, &layout.m, exchanges, &one);
    divide(right, CblasLeft, CblasLower, a.diagonal);
    subtract_product(a.rest, 1, a.below, right);
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
  auto factors = std::make_shared<Factors>(w, height, width);
  const int C = factors->channels, taps = static_cast<int>(w.size(2) * w.size(3));
  const std::size_t ld = factors->layout.leading();
  factors->for_each_tap([&](int row, int column, int tap) {
    for (int o = 0; o < C; ++o)
      for (int c = 0; c < C; ++c)
        factors->lu[row + o + (column + c) * ld] = w[(o * C + c) * taps + tap];
  });
  factors->factorize();
  ++factorizations;
  factors_ = std::move(factors);
}

Index ConvLU::count() { return factorizations; }
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
  for (int i = 0; i < f.layout.n(); ++i)
    sum += std::log(std::abs(f.lu[i * (std::size_t{1} + f.layout.leading())]));
  return sum;
}

// Let S be what remains of T before block column k is eliminated, and S' after. From
//
//   P S = | D 0 | | E R  |     follows    S^-1 = | E^-1  -E^-1 R S'^-1 | |  D^-1    0 | P,
//         | B I | | 0 S' |                       | 0          S'^-1    | | -B D^-1  I |
//
// D and E the triangles on the diagonal, B below and R right of them. B has `below` block rows, R
// `right` block columns, so one window of S^-1 follows from the window of S'^-1 that overlaps it.
// The next steps leave the columns of a window's last block alone: there, S^-1 is T^-1.
static void inverse_window(const Window& z, const Window& a, const int* exchanges) {
  subtract_product(z.right, 0, a.right, z.rest);
  subtract_product(z.below, 0, z.rest, a.below);
  const View& corner = z.diagonal;
  for (int j = 0; j < corner.columns; ++j)
    for (int i = 0; i < corner.rows; ++i) corner.data[i + j * std::size_t(corner.leading)] = i == j;
  subtract_product(corner, 1, z.right, a.below);
  divide(z.top(), CblasLeft, CblasUpper, a.diagonal);
  divide(z.left(), CblasRight, CblasLower, a.diagonal);
  const View all = z.all();
  const auto column = [&](int j) { return all.data + j * std::size_t(all.leading); };
  for (int j = corner.columns - 1; j >= 0; --j)
    if (exchanges[j] != j + 1) cblas_dswap(all.rows, column(j), 1, column(exchanges[j] - 1), 1);
}

Tensor ConvLU::gradient() const {
  const Factors& f = regular("conv_logabsdet");
  const auto inverse = std::make_unique<double[]>(f.layout.size());
  for (int k = f.layout.blocks - 1; k >= 0; --k)
    inverse_window(f.layout.inverse(inverse.get(), k), f.layout.factors(f.lu.get(), k),
                   f.pivots.data() + k * f.layout.m);

  const int C = f.channels, taps = static_cast<int>(f.kernel[2] * f.kernel[3]);
  const std::size_t ld = f.layout.leading();
  std::vector<double> sum(f.kernel.size());
  f.for_each_tap([&](int row, int column, int tap) {
    for (int o = 0; o < C; ++o)
      for (int c = 0; c < C; ++c)
        sum[(o * C + c) * taps + tap] += inverse[column + c + (row + o) * ld];
  });
  return {f.kernel, {sum.begin(), sum.end()}};
}

// x = T^-1 x for the columns of x, whose block k is x.data + k m.
static void solve_in_place(const View& x, const Layout& layout, double* lu, const int* pivots) {
  const auto part = [&](int k, int rows) {
    return View{x.data + k * layout.m, rows, x.columns, x.leading};
  };
  const int one = 1;
  for (int k = 0; k < layout.blocks; ++k) {
    const Window a = layout.factors(lu, k);
    const View now = part(k, layout.m), next = part(k + 1, a.below.rows);
    dlaswp_(&now.columns, now.data, &now.leading, &one, &layout.m, pivots + k * layout.m, &one);
    divide(now, CblasLeft, CblasLower, a.diagonal);
    subtract_product(next, 1, a.below, now);
  }
  for (int k = layout.blocks - 1; k >= 0; --k) {
    const Window a = layout.factors(lu, k);
    const View now = part(k, layout.m), next = part(k + 1, a.right.columns);
    subtract_product(now, 1, a.right, next);
    divide(now, CblasLeft, CblasUpper, a.diagonal);
  }
}

Tensor ConvLU::solve(const Tensor& z) const {
  const Factors& f = regular("conv_solve");
  if (z.rank() != 4 || !(z.shape() == Shape{z.size(0), f.channels, f.height, f.width}))
    fail("conv_solve", "images (B, ", f.channels, ", ", f.height, ", ", f.width,
         ") expected, the shape is ", z.shape());
  const Tensor images = permute(z, {0, 2, 3, 1});  // channels inside; an image is BLAS's column
  std::vector<double> x(images.data(), images.data() + images.size());
  const int n = f.layout.n();
  constexpr Index images_per_chunk = 50;
  parallel_for(z.size(0), images_per_chunk, [&](Index begin, Index end) {
    solve_in_place({x.data() + begin * n, n, static_cast<int>(end - begin), n}, f.layout,
                   f.lu.get(), f.pivots.data());
  });
  return permute(Tensor(images.shape(), {x.begin(), x.end()}), {0, 3, 1, 2});
}

Var conv_logabsdet(const Var& w, const ConvLU& lu) {
  return record("conv_logabsdet", static_cast<Real>(lu.log_abs_det()),
                grad(w, [lu](const Tensor& g) { return g * lu.gradient(); }));
}
Var conv_logabsdet(const Var& w, Index height, Index width) {
  return conv_logabsdet(w, ConvLU(w.value(), height, width));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

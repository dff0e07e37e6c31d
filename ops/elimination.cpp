#include "backflow/ops/elimination.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "backflow/ops/blas.h"
#include "backflow/ops/lapack.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// So many columns are left to LAPACK: halves of them would be too small for products to pay.
constexpr int few = 32;

// Where a panel is cut: in the middle, at a multiple of what the kernels of OpenBLAS take at once.
int first_half(int columns) { return (columns / 2 + 7) / 8 * 8; }

// BLAS and LAPACK by the type of their numbers. Whoever calls one calls prepare_blas() first.
void gemm(const Columns<float>& c, float beta, float alpha, const Columns<float>& a,
          const Columns<float>& b) {
  cblas_sgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, c.rows, c.columns, a.columns, alpha,
              a.data, a.leading, b.data, b.leading, beta, c.data, c.leading);
}
void gemm(const Columns<double>& c, double beta, double alpha, const Columns<double>& a,
          const Columns<double>& b) {
  cblas_dgemm(CblasColMajor, CblasNoTrans, CblasNoTrans, c.rows, c.columns, a.columns, alpha,
              a.data, a.leading, b.data, b.leading, beta, c.data, c.leading);
}
void swap(int n, float* a, float* b) { cblas_sswap(n, a, 1, b, 1); }
void swap(int n, double* a, double* b) { cblas_dswap(n, a, 1, b, 1); }

constexpr int one = 1;
void laswp(const Columns<float>& a, const int* exchanges, int count) {
  slaswp_(&a.columns, a.data, &a.leading, &one, &count, exchanges, &one);
}
void laswp(const Columns<double>& a, const int* exchanges, int count) {
  dlaswp_(&a.columns, a.data, &a.leading, &one, &count, exchanges, &one);
}

// Returns the first pivot that is 0, counted from 1, or 0.
int getrf(const Columns<float>& a, int* exchanges) {
  int info = 0;
  sgetrf_(&a.rows, &a.columns, a.data, &a.leading, exchanges, &info);
  return info;
}
int getrf(const Columns<double>& a, int* exchanges) {
  int info = 0;
  dgetrf_(&a.rows, &a.columns, a.data, &a.leading, exchanges, &info);
  return info;
}

void getri(const Columns<float>& a, const int* exchanges, float* work, int size) {
  int info = 0;
  sgetri_(&a.columns, a.data, &a.leading, exchanges, work, &size, &info);
}
void getri(const Columns<double>& a, const int* exchanges, double* work, int size) {
  int info = 0;
  dgetri_(&a.columns, a.data, &a.leading, exchanges, work, &size, &info);
}

}  // namespace

template <class T>
void add_product(const Columns<T>& c, T beta, T alpha, const Columns<T>& a, const Columns<T>& b) {
  prepare_blas();
  gemm(c, beta, alpha, a, b);
}

template <class T>
void exchange_rows(const Columns<T>& a, const int* exchanges, int count) {
  prepare_blas();
  laswp(a, exchanges, count);
}

template <class T>
void exchange_columns_back(const Columns<T>& a, const int* exchanges, int count) {
  prepare_blas();
  for (int j = count - 1; j >= 0; --j)
    if (exchanges[j] != j + 1) swap(a.rows, a.at(0, j), a.at(0, exchanges[j] - 1));
}

template <class T>
Elimination<T>::Elimination(int rows, int columns)
    : taken_(std::max(std::size_t(rows) * std::min(columns, few),
                      std::size_t(first_half(columns)) * (columns / 2))) {}

// Moves the elements of `a` to where the next call moves others, and leaves zeros.
template <class T>
Columns<T> Elimination<T>::take(const Columns<T>& a) {
  const Columns<T> moved{taken_.data(), a.rows, a.columns, std::max(1, a.rows)};
  copy(moved, a);
  clear(a);
  return moved;
}

// The columns `eliminated` are M, with pivot rows from `first` on: does their step for the others.
template <class T>
void Elimination<T>::apply(const Columns<T>& eliminated, int first, const int* exchanges,
                           const Columns<T>& others) {
  const int w = eliminated.columns;
  exchange_rows(others.part(first, 0, others.rows - first, others.columns), exchanges, w);
  add_product(others, T(1), T(1), eliminated, take(others.part(first, 0, w, others.columns)));
}

template <class T>
int Elimination<T>::eliminate(const Columns<T>& panel, int first, int* exchanges) {
  if (panel.columns == 0) return 0;
  if (panel.columns <= few) return eliminate_few(panel, first, exchanges);
  const int w = first_half(panel.columns);
  const Columns<T> left = panel.part(0, 0, panel.rows, w);
  const Columns<T> right = panel.part(0, w, panel.rows, panel.columns - w);
  if (const int zero = eliminate(left, first, exchanges)) return zero;
  apply(left, first, exchanges, right);
  if (const int zero = eliminate(right, first + w, exchanges + w)) return w + zero;
  apply(right, first + w, exchanges + w, left);
  for (int i = w; i < panel.columns; ++i) exchanges[i] += w;
  return 0;
}

// LAPACK's LU of the rows from `first` on chooses the pivot rows P and gives P^-1.
template <class T>
int Elimination<T>::eliminate_few(const Columns<T>& panel, int first, int* exchanges) {
  const int w = panel.columns;
  const auto rows_left = [&](const Columns<T>& a) { return a.part(first, 0, a.rows - first, w); };
  const auto pivot_rows = [&](const Columns<T>& a) { return a.part(first, 0, w, w); };
  const Columns<T> before{taken_.data(), panel.rows, w, std::max(1, panel.rows)};
  copy(before, panel);
  prepare_blas();
  if (const int zero = getrf(rows_left(panel), exchanges)) return zero;
  for (int i = 0; i < w; ++i) log_abs_det_ += std::log(std::abs(double(*panel.at(first + i, i))));
  exchange_rows(rows_left(before), exchanges, w);

  T inverse_of_pivot_rows[few * few], work[few * few];
  const Columns<T> inverse{inverse_of_pivot_rows, w, w, w};
  copy(inverse, pivot_rows(panel));
  int in_place[few];  // P is in place already
  std::iota(in_place, in_place + few, 1);
  getri(inverse, in_place, work, few * few);
  add_product(panel, T(0), T(-1), before, inverse);
  copy(pivot_rows(panel), inverse);
  return 0;
}

template void add_product(const Columns<float>&, float, float, const Columns<float>&,
                          const Columns<float>&);
template void exchange_rows(const Columns<float>&, const int*, int);
template void exchange_columns_back(const Columns<float>&, const int*, int);
template class Elimination<float>;
template void add_product(const Columns<double>&, double, double, const Columns<double>&,
                          const Columns<double>&);
template void exchange_rows(const Columns<double>&, const int*, int);
template void exchange_columns_back(const Columns<double>&, const int*, int);
template class Elimination<double>;

}  // namespace backflow::inline BACKFLOW_PRECISION

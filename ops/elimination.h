// Gauss-Jordan elimination, which inverts a matrix by products alone. Internal to ops.
//
// A panel is a part of the columns of a matrix, with all of its rows. Eliminating its w columns by
// w pivot rows P, where O are the others, replaces
//
//   | P |        | P^-1    |
//   | O |   by   | -O P^-1 | = M.
//
// For the other columns of the matrix, x_P in the pivot rows and x_O in the others, the step is
// then x = M x_P + (0, x_O): one product. When every column of a square matrix was eliminated, what
// is left is the inverse of the matrix whose rows are exchanged like the pivots were chosen, and
// exchange_columns_back() makes it that of the matrix itself.
//
// A panel is eliminated in halves, each of which does that product for the other one, so that
// nearly all of the 2 n^3 flop are products of large matrices. LAPACK's way to the inverse, an LU
// and triangular systems, has as many flop, and OpenBLAS solves triangular systems of some dozens
// of rows at a tenth of the rate of its products.
//
// Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed. 2002, section 14.4; in blocks:
// Quintana et al., "A note on parallel matrix inversion", SIAM J. Sci. Comput. 22, 2001. The pivots
// are the largest of their columns among the rows that are left, as in LAPACK's LU.
#pragma once

#include <algorithm>

#include "backflow/engine/buffer.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Pooled memory for numbers of either type, uninitialised: a fresh page costs more to fault in than
// the elimination of small panels costs.
template <class T>
class PooledMemory {
 public:
  explicit PooledMemory(std::size_t count)
      : memory_(static_cast<Index>((count * sizeof(T) + sizeof(Real) - 1) / sizeof(Real))) {}
  T* data() const { return reinterpret_cast<T*>(memory_.data()); }

 private:
  Buffer memory_;
};

// A matrix, or a part of one, column-major as BLAS and LAPACK want it: element (i, j) is
// data[i + j * leading]. T is float or double here and below.
template <class T>
struct Columns {
  T* data;
  int rows, columns, leading;

  T* at(Index i, Index j) const { return data + i + j * leading; }
  Columns part(int i, int j, int height, int width) const {
    return {at(i, j), height, width, leading};
  }
};

template <class T>
void copy(const Columns<T>& to, const Columns<T>& from) {
  for (int j = 0; j < from.columns; ++j) std::copy_n(from.at(0, j), from.rows, to.at(0, j));
}

template <class T>
void clear(const Columns<T>& a) {
  for (int j = 0; j < a.columns; ++j) std::fill_n(a.at(0, j), a.rows, T(0));
}

// c = beta c + alpha a b.
template <class T>
void add_product(const Columns<T>& c, T beta, T alpha, const Columns<T>& a, const Columns<T>& b);

// Exchanges row i and row exchanges[i] - 1, for i = 0, 1, ..., count - 1; and columns, in the
// reverse order.
template <class T>
void exchange_rows(const Columns<T>& a, const int* exchanges, int count);
template <class T>
void exchange_columns_back(const Columns<T>& a, const int* exchanges, int count);

template <class T>
class Elimination {
 public:
  // For panels of at most so many rows and columns.
  Elimination(int rows, int columns);

  // Replaces the panel by M. The pivot rows are chosen among the rows from `first` on, and come to
  // stand there. By which exchanges is written to exchanges[0], ..., [columns - 1], with rows
  // counted from `first`. Returns which pivot is exactly 0, counted from 1, and has left the panel
  // unfinished then; 0: none is.
  int eliminate(const Columns<T>& panel, int first, int* exchanges);

  double log_abs_det() const { return log_abs_det_; }  // the sum of log|pivot| so far

 private:
  int eliminate_few(const Columns<T>& panel, int first, int* exchanges);
  void apply(const Columns<T>& eliminated, int first, const int* exchanges,
             const Columns<T>& others);
  Columns<T> take(const Columns<T>& a);

  PooledMemory<T> taken_;  // a matrix that take() has moved away
  double log_abs_det_ = 0;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

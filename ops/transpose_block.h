// The transpose of a small matrix in registers. Internal to ops.
#pragma once

#include <cstring>
#include <utility>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace transposing {

#ifdef __AVX__
typedef Real Row __attribute__((vector_size(32)));
#else
typedef Real Row __attribute__((vector_size(16)));
#endif
constexpr std::size_t side = sizeof(Row) / sizeof(Real);

// a0 b0 a1 b1 ..., beginning with element number `first`.
template <std::size_t first, std::size_t... i>
Row interleaved(const Row& a, const Row& b, std::index_sequence<i...>) {
  return __builtin_shufflevector(a, b, (first + i / 2 + i % 2 * side)...);
}

// Interleaving the first half of the rows with the second, log2(side) times, transposes them.
template <std::size_t rounds = side>
void transpose_rows(Row (&rows)[side]) {
  if constexpr (rounds > 1) {
    constexpr std::make_index_sequence<side> all;
    Row next[side];
    for (std::size_t i = 0; i < side / 2; ++i) {
      next[2 * i] = interleaved<0>(rows[i], rows[i + side / 2], all);
      next[2 * i + 1] = interleaved<side / 2>(rows[i], rows[i + side / 2], all);
    }
    std::copy_n(next, side, rows);
    transpose_rows<rounds / 2>(rows);
  }
}

}  // namespace transposing

// to[c to_step + r] = f(from[r from_step + c]) for each of `rows` rows and `columns` columns; f
// takes vectors, too.
template <class F>
void transpose_block(const Real* from, Index from_step, Index rows, Index columns, Real* to,
                     Index to_step, const F& f) {
  constexpr Index side = transposing::side;
  const Index whole_rows = rows / side * side, whole_columns = columns / side * side;
  for (Index c = 0; c < whole_columns; c += side)
    for (Index r = 0; r < whole_rows; r += side) {
      transposing::Row block[transposing::side];
      for (Index i = 0; i < side; ++i)
        std::memcpy(&block[i], from + (r + i) * from_step + c, sizeof block[i]);
      transposing::transpose_rows(block);
      for (Index i = 0; i < side; ++i) {
        const transposing::Row done = f(block[i]);
        std::memcpy(to + (c + i) * to_step + r, &done, sizeof done);
      }
    }
  for (Index c = 0; c < columns; ++c)
    for (Index r = c < whole_columns ? whole_rows : 0; r < rows; ++r)
      to[c * to_step + r] = f(from[r * from_step + c]);
}

inline void transpose_block(const Real* from, Index from_step, Index rows, Index columns, Real* to,
                            Index to_step) {
  transpose_block(from, from_step, rows, columns, to, to_step, [](const auto& x) { return x; });
}

}  // namespace backflow::inline BACKFLOW_PRECISION

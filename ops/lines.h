// Kernels for lines: n neighbours in memory, and one line after the other. Internal to ops.
#pragma once

#include <algorithm>
#include <array>
#include <type_traits>

#include "backflow/engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Calls body(lanes) with a constant: the largest power of two that is at most n, and at most 64.
template <class Body>
void with_lanes(Index n, const Body& body) {
  if (n >= 64) return body(std::integral_constant<Index, 64>{});
  if (n >= 32) return body(std::integral_constant<Index, 32>{});
  if (n >= 16) return body(std::integral_constant<Index, 16>{});
  if (n >= 8) return body(std::integral_constant<Index, 8>{});
  if (n >= 4) return body(std::integral_constant<Index, 4>{});
  if (n >= 2) return body(std::integral_constant<Index, 2>{});
  body(std::integral_constant<Index, 1>{});
}

// acc[0] o acc[1] o ..., by halves.
template <Index lanes, class Acc, class Combine>
Acc fold_lanes(Acc* acc, Combine combine) {
  for (Index half = lanes / 2; half > 0; half /= 2)
    for (Index i = 0; i < half; ++i) acc[i] = combine(acc[i], acc[half + i]);
  return acc[0];
}

// value o p[0] o ... o p[n - 1] for n < lanes: as many at a time as a power of two, so that loops
// have constant lengths.
template <Index lanes, class Acc, class In, class Combine>
Acc fold_rest(Acc value, const In* p, Index n, Combine combine) {
  if constexpr (lanes == 1) {
    return value;
  } else {
    constexpr Index half = lanes / 2;
    if (n & half) {
      Acc acc[half];
      for (Index i = 0; i < half; ++i) acc[i] = static_cast<Acc>(p[i]);
      value = combine(value, fold_lanes<half>(acc, combine));
      p += half;
    }
    return fold_rest<half>(value, p, n, combine);
  }
}

// p[0] o p[1] o ... o p[n - 1], in `lanes` results side by side that are combined at last. The
// order depends on n alone, for lanes from with_lanes.
template <Index lanes, class Acc, class In, class Combine>
Acc fold_line(const In* p, Index n, Combine combine) {
  Acc acc[lanes];
  for (Index i = 0; i < lanes; ++i) acc[i] = static_cast<Acc>(p[i]);
  Index k = lanes;
  for (; k + lanes <= n; k += lanes)
    for (Index i = 0; i < lanes; ++i) acc[i] = combine(acc[i], static_cast<Acc>(p[k + i]));
  return fold_rest<lanes>(fold_lanes<lanes>(acc, combine), p + k, n - k, combine);
}

// NaN beats every number. (Two choices one after the other vectorize, one of two conditions does
// not.)
inline constexpr auto larger_or_nan = [](Real a, Real b) {
  const Real larger = b > a ? b : a;
  return b != b ? b : larger;
};
inline constexpr auto smaller_or_nan = [](Real a, Real b) {
  const Real smaller = b < a ? b : a;
  return b != b ? b : smaller;
};
inline constexpr auto sum_of_two = [](double a, double b) { return a + b; };

// Longer lines are no blocks: they would not fit into a cache, nor keep all threads busy.
inline constexpr Index longest_line = 2048;

// Calls body(block, lanes) for blocks of whole lines that fit into the L1 cache, in parallel, with
// lanes for fold_line. 1 <= n <= longest_line. A block has room for as many numbers as it has.
struct LineBlock {
  Index first, lines, n;
  Real* scratch;
  Index begin() const { return first * n; }
  Index size() const { return lines * n; }
};
template <class Body>
void for_each_line_block(Index lines, Index n, const Body& body) {
  const Index most = longest_line / n;
  with_lanes(n, [&](auto lanes) {
    parallel_for(lines, elements_per_chunk / longest_line * most, [&](Index first, Index end) {
      std::array<Real, longest_line> scratch{};
      for (; first < end; first += most)
        body(LineBlock{first, std::min(most, end - first), n, scratch.data()}, lanes);
    });
  });
}

}  // namespace backflow::inline BACKFLOW_PRECISION

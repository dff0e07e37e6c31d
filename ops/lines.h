// Kernels for lines: n neighbours in memory, and one line after the other. Internal to ops.
#pragma once

#include <algorithm>
#include <array>
#include <type_traits>

#include "backflow/engine/parallel.h"
#include "backflow/ops/packs.h"

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

// `lanes` results side by side, lanes being a power of two. They stay in registers: in an array,
// each would be stored and loaded again between two steps.
template <Index lanes, class Acc>
class Lanes {
 public:
  template <class In>
  explicit Lanes(const In* p) {
    unrolled<packs>([&](auto i) { acc_[i] = load_pack<Acc, width>(p + i * width); });
  }
  template <class In, class Combine>
  void take(const In* p, Combine combine) {
    unrolled<packs>(
        [&](auto i) { acc_[i] = combine(acc_[i], load_pack<Acc, width>(p + i * width)); });
  }
  // acc[0] o acc[1] o ..., by halves.
  template <class Combine>
  Acc total(Combine combine) const {
    Lanes halves = *this;
    return halves.template fold_packs<packs>(combine);
  }

 private:
  static constexpr Index width = std::min(lanes, lanes_of_register<Acc>), packs = lanes / width;

  template <Index count, class Combine>
  Acc fold_packs(Combine combine) {
    if constexpr (count == 1) {
      return fold_pack<width>(acc_[0], combine);
    } else {
      unrolled<count / 2>([&](auto i) { acc_[i] = combine(acc_[i], acc_[count / 2 + i]); });
      return fold_packs<count / 2>(combine);
    }
  }

  Pack<Acc, width> acc_[packs];
};

// value o p[0] o ... o p[n - 1] for n < lanes: as many at a time as a power of two, so that loops
// have constant lengths.
template <Index lanes, class Acc, class In, class Combine>
Acc fold_rest(Acc value, const In* p, Index n, Combine combine) {
  if constexpr (lanes == 1) {
    return value;
  } else {
    constexpr Index half = lanes / 2;
    if (n & half) {
      value = combine(value, Lanes<half, Acc>(p).total(combine));
      p += half;
    }
    return fold_rest<half>(value, p, n, combine);
  }
}

// p[0] o p[1] o ... o p[n - 1], in `lanes` results side by side that are combined at last. The
// order depends on n alone, for lanes from with_lanes.
template <Index lanes, class Acc, class In, class Combine>
Acc fold_line(const In* p, Index n, Combine combine) {
  Lanes<lanes, Acc> acc(p);
  Index k = lanes;
  for (; k + lanes <= n; k += lanes) acc.take(p + k, combine);
  return fold_rest<lanes>(acc.total(combine), p + k, n - k, combine);
}

// Of two numbers, or of two packs. NaN beats every number. Two choices one after the other are the
// processor's maximum and a blend for NaN; 2 b is b where it is chosen, and without it the compiler
// would make one choice of both, for which the next one has to wait longer.
inline constexpr auto larger_or_nan = [](auto a, auto b) {
  const auto larger = b > a ? b : a;
  return b != b ? b + b : larger;
};
inline constexpr auto smaller_or_nan = [](auto a, auto b) {
  const auto smaller = b < a ? b : a;
  return b != b ? b + b : smaller;
};
inline constexpr auto sum_of_two = [](auto a, auto b) { return a + b; };

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

// Packs: so many numbers as a vector register holds, for kernels whose results must stay in
// registers. Internal to ops: no public header includes this one, whose meaning depends on the
// processor.
#pragma once

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#if defined(__AVX__)
#include <immintrin.h>
#endif

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

#if defined(__AVX512F__)
inline constexpr Index bytes_of_register = 64;
#elif defined(__AVX2__)
inline constexpr Index bytes_of_register = 32;
#else
inline constexpr Index bytes_of_register = 16;
#endif

template <class T>
inline constexpr Index lanes_of_register = bytes_of_register / static_cast<Index>(sizeof(T));

template <class T, Index count>
struct PackType {
  typedef T Type __attribute__((vector_size(count * sizeof(T))));
};
template <class T, Index count>
using Pack = typename PackType<T, count>::Type;

// Calls f with the constants 0 to count - 1. An array that is indexed by constants alone stays in
// registers.
template <Index count, class F>
[[gnu::always_inline]] inline void unrolled(const F& f) {
  [&]<Index... i>(std::integer_sequence<Index, i...>) {
    (f(std::integral_constant<Index, i>{}), ...);
  }
  (std::make_integer_sequence<Index, count>{});
}

// p[0] to p[count - 1], each converted to T. They may lie anywhere.
template <class T, Index count, class From>
[[gnu::always_inline]] inline Pack<T, count> load_pack(const From* p) {
  Pack<T, count> pack;
  if constexpr (std::is_same_v<T, From>) {
    std::memcpy(&pack, p, sizeof pack);
  } else {
    Pack<From, count> from;
    std::memcpy(&from, p, sizeof from);
    pack = __builtin_convertvector(from, Pack<T, count>);
  }
  return pack;
}
// GCC makes two conversions of halves of these.
#if defined(__AVX512F__)
template <>
[[gnu::always_inline]] inline Pack<double, 8> load_pack<double, 8>(const float* p) {
  return _mm512_maskz_cvtps_pd(0xFF, _mm256_loadu_ps(p));  // the other one makes GCC 12 warn
}
#endif
#if defined(__AVX__)
template <>
[[gnu::always_inline]] inline Pack<double, 4> load_pack<double, 4>(const float* p) {
  return _mm256_cvtps_pd(_mm_loadu_ps(p));
}
#endif

template <class T, class AnyPack>
[[gnu::always_inline]] inline void store_pack(T* p, const AnyPack& pack) {
  std::memcpy(p, &pack, sizeof pack);
}

// pack[0] o pack[1] o ..., by halves.
template <Index count, class AnyPack, class Combine>
[[gnu::always_inline]] inline auto fold_pack(const AnyPack& pack, Combine combine) {
  if constexpr (count == 1) {
    return pack[0];
  } else if constexpr (count == 2) {
    return combine(pack[0], pack[1]);
  } else {
    constexpr Index half = count / 2;
    return [&]<Index... i>(std::integer_sequence<Index, i...>) {
      const auto low = __builtin_shufflevector(pack, pack, i...);
      const auto high = __builtin_shufflevector(pack, pack, (half + i)...);
      return fold_pack<half>(combine(low, high), combine);
    }
    (std::make_integer_sequence<Index, half>{});
  }
}

}  // namespace backflow::inline BACKFLOW_PRECISION

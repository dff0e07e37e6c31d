#include "backflow/apps/files/dtype.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include "backflow/engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// IEEE 754's binary16: 1 bit of sign, 5 of the exponent, 10 of the fraction.
float from_half(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  float magnitude = std::ldexp(static_cast<float>(fraction), -24);  // subnormal
  if (exponent > 0) magnitude = std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  if (exponent == 31)
    magnitude =
        fraction ? std::numeric_limits<float>::quiet_NaN() : std::numeric_limits<float>::infinity();
  return bits >> 15 ? -magnitude : magnitude;
}

// The upper half of a float.
float from_bfloat(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

template <class T>
T as_stored(T value) {
  return value;
}

// False where a finite value became infinite.
template <class Float>
bool round_to_real(Float value, Real& real) {
  real = static_cast<Real>(value);
  return std::isfinite(real) || !std::isfinite(value);
}

// False where Real has no such number. The comparison is exact: a long double holds any of both.
template <class Whole>
bool fit_into_real(Whole value, Real& real) {
  static_assert(std::numeric_limits<long double>::digits >= 64);
  real = static_cast<Real>(value);
  return static_cast<long double>(real) == static_cast<long double>(value);
}

bool fit_flag(std::uint8_t value, Real& real) {
  real = value;
  return value <= 1;
}

void lower(std::atomic<Index>& least, Index value) {
  for (Index before = least; value < before && !least.compare_exchange_weak(before, value);) {
  }
}

template <class Stored, auto decode, auto convert>
std::optional<Index> convert_all(const char* from, Index count, Real* to) {
  std::atomic<Index> first_bad{count};
  parallel_for(count, elements_per_chunk, [&](Index i, Index end) {
    for (; i < end; ++i) {
      Stored stored;
      std::memcpy(&stored, from + i * static_cast<Index>(sizeof stored), sizeof stored);
      if (!convert(decode(stored), to[i])) return lower(first_bad, i);
    }
  });
  return first_bad < count ? std::optional(first_bad.load()) : std::nullopt;
}

template <class T>
constexpr auto floats = convert_all<T, as_stored<T>, round_to_real<T>>;
template <class T>
constexpr auto wholes = convert_all<T, as_stored<T>, fit_into_real<T>>;
constexpr auto halves = convert_all<std::uint16_t, from_half, round_to_real<float>>;
constexpr auto bfloats = convert_all<std::uint16_t, from_bfloat, round_to_real<float>>;
constexpr auto flags = convert_all<std::uint8_t, as_stored<std::uint8_t>, fit_flag>;

constexpr const char* in_range =
    sizeof(Real) == sizeof(float) ? "a number in the range of F32" : "a number in the range of F64";
constexpr const char* exact = sizeof(Real) == sizeof(float) ? "a number that F32 has exactly"
                                                            : "a number that F64 has exactly";

// The format's own list.
constexpr Dtype dtypes[] = {
    {"F64", 64, floats<double>, in_range},
    {"F32", 32, floats<float>, in_range},
    {"F16", 16, halves, in_range},
    {"BF16", 16, bfloats, in_range},
    {"I64", 64, wholes<std::int64_t>, exact},
    {"I32", 32, wholes<std::int32_t>, exact},
    {"I16", 16, wholes<std::int16_t>, exact},
    {"I8", 8, wholes<std::int8_t>, exact},
    {"U64", 64, wholes<std::uint64_t>, exact},
    {"U32", 32, wholes<std::uint32_t>, exact},
    {"U16", 16, wholes<std::uint16_t>, exact},
    {"U8", 8, wholes<std::uint8_t>, exact},
    {"BOOL", 8, flags, "0 or 1"},
    {"C64", 64, nullptr, ""},
    {"F8_E5M2", 8, nullptr, ""},
    {"F8_E4M3", 8, nullptr, ""},
    {"F8_E8M0", 8, nullptr, ""},
    {"F6_E2M3", 6, nullptr, ""},
    {"F6_E3M2", 6, nullptr, ""},
    {"F4", 4, nullptr, ""},
};

}  // namespace

const Dtype* find_dtype(const std::string& name) {
  const auto found = std::find_if(std::begin(dtypes), std::end(dtypes),
                                  [&](const Dtype& dtype) { return dtype.name == name; });
  return found == std::end(dtypes) ? nullptr : found;
}

std::string known_dtypes() {
  std::string all;
  for (const Dtype& dtype : dtypes)
    if (dtype.convert) all += (all.empty() ? "" : ", ") + std::string(dtype.name);
  return all;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

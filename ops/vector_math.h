// Elementary functions for the bodies of loops: exp, expm1, log, log1p, tanh, sigmoid and softplus.
// Internal to the library's sources: no public header includes this one, whose meaning depends on
// the processor.
//
// They are inline, without branches and without calls, in float and in double: the compiler turns a
// plain loop over them into vector instructions, those of the build's -march. The standard ones are
// calls for one element at a time.
//
// * The error is below 2 ulp over the whole range, subnormal results included; below 1 for exp and
//   log. Signed zeros, infinities and NaN come out as from the standard functions.
// * An element has the same bits wherever it is in a loop, with every compiler, and with every
//   -march that has fused multiply-add (x86-64-v3 and later, AArch64). Without it a product is
//   rounded before it is added to: those builds agree with one another, and not with these.
// * They need the default rounding mode, and no -ffast-math.
//
// Range reduction is Cody and Waite's ("Software Manual for the Elementary Functions", 1980); the
// formula of the logarithm is fdlibm's. Coefficients without another source are minimax ones, by
// Remez' algorithm, rounded.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace vector_math {

// ---- Constants --------------------------------------------------------------------------------

// ln 2 is the sum of a part of few digits, whose products with exponents are exact, and the rest.
//
// exp: (e^r - 1 - r) / r^2 for |r| <= ln 2 / 2, by powers of r.
// log: (2 artanh(s) / s - 2) / s^2 by powers of s^2, for log(1 + f) with s = f / (2 + f): `log` for
//      sqrt(1/2) <= 1 + f <= sqrt 2, `log_wide` for 0 <= f <= 1.
// tanh: Lambert's continued fraction x / (1 + x^2 / (3 + x^2 / (5 + ...))), cut off, is
//      x - x z p(z) / q(z) with z = x^2: p and q by powers of z.
template <class T>
struct Constants;

template <>
struct Constants<float> {
  using Bits = std::uint32_t;
  static constexpr float ln2_high = 0x1.63p-1F, ln2_low = -0x1.bd0106p-13F;
  static constexpr float exp_least = -104, exp_most = 89;  // beyond these it is 0, or infinite
  static constexpr float tanh_is_1 = 10;
  static constexpr float exp[] = {0x1p-1F, 0x1.5554a2p-3F, 0x1.55568ap-5F, 0x1.123008p-7F,
                                  0x1.6b6dd6p-10F};
  static constexpr float log[] = {0x1.55557ap-1F, 0x1.995e9ap-2F, 0x1.31e686p-2F};
  static constexpr float log_wide[] = {0x1.555558p-1F, 0x1.9996a6p-2F, 0x1.2509a6p-2F,
                                       0x1.b6d1d2p-3F, 0x1.f1c290p-3F};
  static constexpr float tanh_p[] = {315, 14}, tanh_q[] = {945, 420, 15};
};

template <>
struct Constants<double> {
  using Bits = std::uint64_t;
  static constexpr double ln2_high = 0x1.62e42feep-1, ln2_low = 0x1.a39ef35793c76p-33;
  static constexpr double exp_least = -746, exp_most = 710;
  static constexpr double tanh_is_1 = 20;
  static constexpr double exp[] = {0x1p-1,
                                   0x1.5555555555501p-3,
                                   0x1.55555555531c5p-5,
                                   0x1.1111111128b1bp-7,
                                   0x1.6c16c17cda608p-10,
                                   0x1.a01a011b721abp-13,
                                   0x1.a019aadd2166ap-16,
                                   0x1.71df563ac776fp-19,
                                   0x1.289fe1352fc46p-22,
                                   0x1.ad1f931cf2b86p-26};
  static constexpr double log[] = {0x1.5555555555593p-1, 0x1.999999997fb33p-2, 0x1.2492494217975p-2,
                                   0x1.c71c51e7fdc20p-3, 0x1.7466462b67ea9p-3, 0x1.39a0f51c7278ap-3,
                                   0x1.2f0d8db6bcac8p-3};
  static constexpr double log_wide[] = {
      0x1.5555555555534p-1, 0x1.99999999a08c9p-2, 0x1.2492492080f8ap-2, 0x1.c71c7421d8b7bp-3,
      0x1.745cb346bf224p-3, 0x1.3b1dea77a5f05p-3, 0x1.10670503e1418p-3, 0x1.efe3dce7a557ep-4,
      0x1.557fc1cae7b59p-4, 0x1.5ca583a04e545p-3};
  static constexpr double tanh_p[] = {11486475, 810810, 12870, 44};
  static constexpr double tanh_q[] = {34459425, 16216200, 945945, 13860, 45};
};

// An IEEE number's fields.
template <class T>
struct Format {
  using Bits = typename Constants<T>::Bits;
  static constexpr int fraction_bits = std::numeric_limits<T>::digits - 1;
  static constexpr Bits fraction_mask = (Bits{1} << fraction_bits) - 1;
  static constexpr Bits bias = std::numeric_limits<T>::max_exponent - 1;
  static constexpr T large = T(Bits{1} << fraction_bits);  // from here on all are whole numbers
  // Added to a number it rounds it to a whole n, and leaves n + bias in the lowest bits.
  static constexpr T rounder = T(1.5) * large + T(bias);
};

// ---- Parts ------------------------------------------------------------------------------------

#define BACKFLOW_INLINE [[gnu::always_inline]] inline

#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
inline constexpr bool has_fused = true;
#else
inline constexpr bool has_fused = false;
#endif

// a b + c. Every sum of a product is written so: left to the compiler, which ones it fuses would
// depend on the compiler.
template <class T>
BACKFLOW_INLINE T multiply_add(T a, T b, T c) {
  return has_fused ? std::fma(a, b, c) : a * b + c;
}

// c[0] + c[1] x + c[2] x^2 + ...
template <std::size_t k = 0, class T, std::size_t n>
BACKFLOW_INLINE T polynomial(T x, const T (&c)[n]) {
  if constexpr (k + 1 == n) {
    return c[k];
  } else {
    return multiply_add(x, polynomial<k + 1>(x, c), c[k]);
  }
}

// 2^n from the bits of n + bias: the number's exponent field.
template <class T>
BACKFLOW_INLINE T power_of_2(typename Format<T>::Bits biased_n) {
  return std::bit_cast<T>(biased_n << Format<T>::fraction_bits);
}

// e^x = y 2^n: y = e^r with r = x - n ln 2, |r| <= ln 2 / 2.
template <class T>
struct Exponential {
  using Bits = typename Format<T>::Bits;

  BACKFLOW_INLINE explicit Exponential(T x) {
    using C = Constants<T>;
    constexpr T log2_e = T(1.44269504088896340736), rounder = Format<T>::rounder;
    const T rounded = multiply_add(x, log2_e, rounder), n = rounded - rounder;
    r = multiply_add(n, -C::ln2_low, multiply_add(n, -C::ln2_high, x));
    q = polynomial(r, C::exp);
    y = has_fused ? multiply_add(r, multiply_add(r, q, T(1)), T(1)) : 1 + (r + r * r * q);
    biased_n = std::bit_cast<Bits>(rounded);
  }
  // Where 2^n is a normal number.
  BACKFLOW_INLINE T normal() const { return y * power_of_2<T>(biased_n); }
  // In two steps: 2^n may be subnormal, or half of the product infinite.
  BACKFLOW_INLINE T any() const {
    const Bits twice_biased = biased_n + Format<T>::bias, half = twice_biased >> 1;
    return y * power_of_2<T>(half) * power_of_2<T>(twice_biased - half);
  }

  // For n <= 0: by a factor that is normal, and one that is the same for all.
  BACKFLOW_INLINE T at_most_1() const {
    constexpr int digits = std::numeric_limits<T>::digits;
    return y * power_of_2<T>(biased_n + digits) * (1 / T(Bits{1} << digits));
  }

  // e^x - 1 = 2^n (e^r - 1) + (2^n - 1), where 2^n is a normal number.
  BACKFLOW_INLINE T minus_1() const {
    const T scale = power_of_2<T>(biased_n);
    return multiply_add(r * r * q, scale, multiply_add(r, scale, scale - 1));
  }

  T r, q, y;      // e^r = y = 1 + r + r^2 q
  Bits biased_n;  // below bits that have no meaning
};

// x = m 2^k with sqrt(1/2) <= m < sqrt 2, for a normal positive x.
template <class T>
struct Split {
  using F = Format<T>;
  using Bits = typename F::Bits;

  BACKFLOW_INLINE explicit Split(T x) {
    constexpr Bits one = std::bit_cast<Bits>(T(1));
    constexpr Bits root = std::bit_cast<Bits>(T(0.70710678118654752440));
    const Bits above_root = std::bit_cast<Bits>(x) + (one - root);
    biased_k = above_root >> F::fraction_bits;
    m = std::bit_cast<T>((above_root & F::fraction_mask) + root);
  }
  // The whole number biased_k - bias.
  BACKFLOW_INLINE T k(T bias = T(F::bias)) const {
    return std::bit_cast<T>(biased_k | std::bit_cast<Bits>(F::large)) - (F::large + bias);
  }

  T m;
  Bits biased_k;
};

// k ln 2 + log(1 + f) for sqrt(1/2) <= 1 + f <= sqrt 2. With s = f / (2 + f),
// log(1 + f) = 2 artanh(s) = 2 s + s R = f - s (f - R): all but the first f is small, and so are
// the errors.
template <class T>
BACKFLOW_INLINE T log_of_parts(T k, T f) {
  using C = Constants<T>;
  const T s = f / (2 + f), z = s * s;
  const T f_minus_R = multiply_add(-z, polynomial(z, C::log), f);
  return multiply_add(k, C::ln2_high, f - multiply_add(s, f_minus_R, k * -C::ln2_low));
}

// log(1 + f) for 0 <= f <= 1, likewise. Unfused products are less exact: the sum 2 + f must be more
// so. What it lacks is a part of about 0.4 of its last digit wherever that matters, near f = 0.6.
template <class T>
BACKFLOW_INLINE T log_1_plus(T f) {
  const T sum = 2 + f, ratio = f / sum;
  const T s = has_fused ? ratio : ratio - T(0.4) * ratio * (f - (sum - 2));
  const T z = s * s;
  return multiply_add(-s, multiply_add(-z, polynomial(z, Constants<T>::log_wide), f), f);
}

// e^-|x|, which cannot overflow.
template <class T>
BACKFLOW_INLINE T exp_of_minus(T x) {
  constexpr T most = -Constants<T>::exp_least;
  const T magnitude = std::abs(x);
  return Exponential<T>(-(magnitude > most ? most : magnitude)).at_most_1();
}

// ---- The functions ----------------------------------------------------------------------------
//
// A comparison with NaN is false: each keeps a NaN in the branch that is taken then.

template <class T>
BACKFLOW_INLINE T exp(T x) {
  using C = Constants<T>;
  const T y = Exponential<T>(x > C::exp_most ? C::exp_most : x).any();
  return x < C::exp_least ? T(0) : y;  // one limit before and one behind make the shorter loop
}

template <class T>
BACKFLOW_INLINE T expm1(T x) {
  using C = Constants<T>;
  constexpr T is_all_exp = 2 * C::tanh_is_1;  // from here on the 1 is below rounding
  const T a = x > C::exp_most ? C::exp_most : x;
  const Exponential<T> e(a < -is_all_exp ? -is_all_exp : a);
  const T y = x > is_all_exp ? e.any() : e.minus_1();
  return std::abs(x) < std::numeric_limits<T>::epsilon() / 4 ? x : y;  // -0 and subnormals
}

template <class T>
BACKFLOW_INLINE T log(T x) {
  using F = Format<T>;
  using Limits = std::numeric_limits<T>;
  const bool subnormal = x < Limits::min();
  const Split<T> split(x * (subnormal ? F::large : T(1)));
  const T bias = subnormal ? T(F::bias + F::fraction_bits) : T(F::bias);
  T y = log_of_parts(split.k(bias), split.m - 1);
  y = x < Limits::infinity() ? y : x;
  const T of_others = x == 0 ? -Limits::infinity() : Limits::quiet_NaN();
  return x > 0 ? y : of_others;
}

// k ln 2 + log(1 + f) with 1 + x = (1 + f) 2^k, so f = 2^-k x + (2^-k - 1): of a small x, where k
// is 0, no digit is lost.
template <class T>
BACKFLOW_INLINE T log1p(T x) {
  using F = Format<T>;
  using Limits = std::numeric_limits<T>;
  const Split<T> split(1 + x);
  const T scale = power_of_2<T>(2 * F::bias + 2 - split.biased_k);  // 2^(2 - k); 2^-k may be none
  const T f = multiply_add(T(0.25) * x, scale, multiply_add(T(0.25), scale, T(-1)));
  T y = log_of_parts(split.k(), f);
  y = std::abs(x) < Limits::epsilon() / 4 ? x : y;  // -0 and subnormals among them
  y = x < Limits::infinity() ? y : x;
  const T of_others = x == -1 ? -Limits::infinity() : Limits::quiet_NaN();
  return x > -1 ? y : of_others;
}

// 1 / (1 + e^-x) = w - w e / (1 + e) with e = e^-|x| and w = e for negative x, else 1. The fraction
// is small wherever the result is not near 1/2, and so are the errors.
template <class T>
BACKFLOW_INLINE T sigmoid(T x) {
  const T e = exp_of_minus(x), w = x < 0 ? e : T(1);
  return multiply_add(-(e / (1 + e)), w, w);
}

// log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)
template <class T>
BACKFLOW_INLINE T softplus(T x) {
  return (x > 0 ? x : T(0)) + log_1_plus(exp_of_minus(x));
}

// Either is w - w num / den: for small |x| the continued fraction, else 1 - 2 / (e^(2 |x|) + 1).
template <class T>
BACKFLOW_INLINE T tanh(T x) {
  using C = Constants<T>;
  const T magnitude = std::abs(x), a = magnitude > C::tanh_is_1 ? C::tanh_is_1 : magnitude;
  const T e = Exponential<T>(2 * a).normal(), z = a * a;
  const bool small = a < T(0.625);
  const T num = small ? z * polynomial(z, C::tanh_p) : T(2);
  const T den = small ? polynomial(z, C::tanh_q) : e + 1;
  const T w = small ? a : T(1);
  return std::copysign(multiply_add(-(num / den), w, w), x);
}

#undef BACKFLOW_INLINE

}  // namespace vector_math
}  // namespace backflow::inline BACKFLOW_PRECISION

// ---- Still glibc's ----------------------------------------------------------------------------
//
// g++ is told that std::sin, std::cos and std::erf have vector versions (libmvec): of at most 4
// ulp, and with bits that depend on -march. As this declares them anew, no header includes this
// one.

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define BACKFLOW_VECTORIZED(name)                                                      \
  extern "C" double name(double) noexcept __attribute__((simd("notinbranch"), const)); \
  extern "C" float name##f(float) noexcept __attribute__((simd("notinbranch"), const));
BACKFLOW_VECTORIZED(sin)
BACKFLOW_VECTORIZED(cos)
BACKFLOW_VECTORIZED(erf)
#undef BACKFLOW_VECTORIZED
#endif

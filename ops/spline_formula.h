// The spline's formula, its gradient and its inverse, one element per vector lane, without a branch
// on data. Internal to the spline: what differs between its two files is how an element's bin is
// found.
#pragma once

#include <cmath>
#include <cstring>

#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace spline_formula {

// ---- Vectors --------------------------------------------------------------------------------

#if defined(__AVX512F__)
inline constexpr Index vector_bytes = 64;
#elif defined(__AVX2__)
inline constexpr Index vector_bytes = 32;
#else
inline constexpr Index vector_bytes = 16;
#endif
using Lanes [[gnu::vector_size(vector_bytes)]] = Real;
using Mask = decltype(Lanes{} < Lanes{});
inline constexpr Index lanes = vector_bytes / sizeof(Real);
inline constexpr Lanes zero{}, one = zero + 1;

// The first `count` lanes; the others are 0 and stay unwritten.
inline Lanes load(const Real* from, Index count = lanes) {
  Lanes v{};
  if (count == lanes) {
    std::memcpy(&v, from, sizeof(v));
  } else {
    std::memcpy(&v, from, count * sizeof(Real));
  }
  return v;
}

inline void store(Real* to, const Lanes& v, Index count = lanes) {
  if (count == lanes) {
    std::memcpy(to, &v, sizeof(v));
  } else {
    std::memcpy(to, &v, count * sizeof(Real));
  }
}

template <class F>
inline Lanes each(const Lanes& v, F f) {
  Real numbers[lanes];
  store(numbers, v);
  for (Real& x : numbers) x = f(x);
  return load(numbers);
}

inline Lanes log(const Lanes& v) {
  return each(v, [](Real x) { return vector_math::log(x); });
}

// ---- The spline -----------------------------------------------------------------------------

inline Mask is_outside(const Lanes& x, Real bound) { return (x < -bound) | (x > bound); }

// Each lane's bin.
struct Bin {
  Lanes x, y, height, inverse_width, d0, d1;
};

// The terms of the spline's formula at x, named as there.
struct Terms {
  Lanes t, rest, u;  // 1 - t and t (1 - t)
  Lanes s, bend;     // bend = d0 + d1 - 2 s
  Lanes inverse_denominator;
  Lanes share;      // of the height, that lies below the value
  Lanes numerator;  // d1 t^2 + 2 s u + d0 (1 - t)^2
  Lanes slope;      // of the value
};

inline Terms terms_of(const Bin& bin, const Lanes& x) {
  Terms p;
  p.t = (x - bin.x) * bin.inverse_width;
  p.t = p.t > one ? one : p.t;  // by rounding alone
  p.rest = 1 - p.t;
  p.u = p.t * p.rest;
  p.s = bin.height * bin.inverse_width;
  p.bend = bin.d0 + bin.d1 - 2 * p.s;
  p.inverse_denominator = 1 / (p.s + p.bend * p.u);
  p.share = (p.s * p.t * p.t + bin.d0 * p.u) * p.inverse_denominator;
  p.numerator = bin.d1 * p.t * p.t + 2 * p.s * p.u + bin.d0 * p.rest * p.rest;
  const Lanes ratio = p.s * p.inverse_denominator;
  p.slope = ratio * (p.numerator * ratio);  // a square alone might overflow
  return p;
}

// ---- Its gradient ---------------------------------------------------------------------------

// The gradients of x and of what the formula takes from its bin. They follow from the gradients
// `value` and `log_derivative` of the two outputs; the gradient of y_k is `value` itself.
struct BinGradient {
  Lanes x, width, height, d0, d1;
};

inline BinGradient gradient_of(const Bin& bin, const Terms& p, const Lanes& value,
                               const Lanes& log_derivative) {
  const Lanes right = bin.d1 * p.t, left = bin.d0 * p.rest, slant = 1 - 2 * p.t;
  const Lanes by_denominator = 2 * log_derivative * p.inverse_denominator;
  const Lanes by_numerator = log_derivative / p.numerator;
  const Lanes by_slopes = value * bin.height * p.u * p.inverse_denominator;
  const Lanes t = 2 * by_numerator * (right + p.s * slant - left) - by_denominator * p.bend * slant;
  // By way of s alone, divided by the width.
  const Lanes s =
      value * p.u * (right * p.t - left * p.rest) * p.s * p.inverse_denominator *
          p.inverse_denominator +
      (2 * log_derivative + p.s * (2 * by_numerator * p.u - by_denominator * (1 - 2 * p.u))) /
          bin.height;
  BinGradient g;
  g.x = value * p.slope + t * bin.inverse_width;
  g.width = -(g.x * p.t + s * p.s);
  g.height = value * p.share + s;
  g.d0 = by_slopes * (1 - p.share) + by_numerator * p.rest * p.rest - by_denominator * p.u;
  g.d1 = -by_slopes * p.share + by_numerator * p.t * p.t - by_denominator * p.u;
  return g;
}

// ---- Its inverse ----------------------------------------------------------------------------

// The ends of each lane's bin, which holds the value there.
struct Ends {
  Real left[lanes], right[lanes], bottom[lanes], top[lanes], d0[lanes], d1[lanes];
};

// With e = (value - y_k) / height and r = d0 (1 - e) - d1 e, the place in the bin is
//
//   t = 2 s e / (2 s e + r + root)  or  1 - t = 2 s (1 - e) / (2 s (1 - e) - r + root),
//
// root = sqrt(r^2 + 4 s^2 e (1 - e)): nothing cancels in the first if r > 0, in the second else.
// In double: where the spline is flat, digits are few.
inline Lanes inverse_in_bin(const Ends& ends, const Lanes& value) {
  Real values[lanes], roots[lanes];
  store(values, value);
  for (Index i = 0; i < lanes; ++i) {
    const double left = ends.left[i], width = ends.right[i] - left;
    const double bottom = ends.bottom[i], top = ends.top[i], height = top - bottom;
    const double e = (values[i] - bottom) / height, rest = (top - values[i]) / height;
    const double s = height / width, r = ends.d0[i] * rest - ends.d1[i] * e;
    const double root = std::sqrt(r * r + 4 * s * s * e * rest);
    const bool first = r > 0;
    const double part = 2 * s * (first ? e : rest);
    const double moved = width * (part / (part + std::abs(r) + root));
    roots[i] = static_cast<Real>(first ? left + moved : ends.right[i] - moved);
  }
  return load(roots);
}

}  // namespace spline_formula
}  // namespace backflow::inline BACKFLOW_PRECISION

// The inverse of an increasing function of one number, from its value and its slope.
//
// A flow that transforms each element by an increasing s has s^-1 as its inverse. Where there is no
// formula for it, these functions find the root x of s(x) = y, in double in both builds, until
// rounding alone explains what is left of s(x) - y.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "backflow/engine/parallel.h"
#include "backflow/engine/tensor.h"

namespace backflow::inline BACKFLOW_PRECISION {

// What s must return for each x: s(x) and s'(x).
struct ValueAndSlope {
  double value, slope;
};

// 0 < least <= s'(x) <= greatest for every x.
struct SlopeBounds {
  double least, greatest;
};

// The root of s(x) = y: Newton's method, and bisection of an interval that surely holds the root
// where a Newton step leaves the interval or does not halve the step before. Infinite where the
// root is beyond the largest double. Fails in the name of `flow` where it does not converge.
template <class S>
double solve_increasing(const char* flow, S s, SlopeBounds bounds, double y) {
  constexpr double epsilon = std::numeric_limits<double>::epsilon();
  double x = y / bounds.greatest;  // from here s(x) cannot overflow
  if (!std::isfinite(x)) return x;
  const double reach = 2 * std::abs(s(x).value - y) / bounds.least;  // twice the distance at most
  double low = x - reach, high = x + reach, last_step = high - low;
  for (int evaluations = 0; evaluations < 200; ++evaluations) {
    const auto [value, slope] = s(x);
    const double newton = x - (value - y) / slope;
    const double rounding = 4 * epsilon * (std::abs(y) + bounds.least * std::abs(x));
    if (std::abs(value - y) <= rounding || std::isinf(newton)) return newton;
    (value < y ? low : high) = x;
    const bool good = newton > low && newton < high && std::abs(newton - x) <= last_step / 2;
    const double next = good ? newton : low + (high - low) / 2;
    last_step = std::abs(next - x);
    const double tolerance = epsilon * std::abs(next);
    if (last_step <= tolerance || high - low <= tolerance) return next;
    x = next;
  }
  fail(flow, "the inverse did not converge at z = ", y, ": the root is between ", low, " and ",
       high);
}

// Some roots at once, of which Newton's method alone may have left a few unsolved.
struct BlockOfRoots {
  static constexpr Index size = 64;
  double x[size], unsolved[size];  // 0 or 1
};

// Newton's method alone, for a block of elements at once: the loops become vector instructions. A
// block is always full and an element that is solved stays as it is, so that its bits do not depend
// on others.
template <class S>
BlockOfRoots solve_block(S s, SlopeBounds bounds, const double* y) {
  constexpr int most_steps = 12;
  constexpr double epsilon = std::numeric_limits<double>::epsilon();
  constexpr double largest = std::numeric_limits<double>::max();
  BlockOfRoots roots;
  for (Index k = 0; k < roots.size; ++k) {
    roots.x[k] = y[k] / bounds.greatest;
    roots.unsolved[k] = 1;
  }
  double left = roots.size;
  for (int step = 0; step < most_steps && left > 0; ++step) {
    for (Index k = 0; k < roots.size; ++k) {
      double &x = roots.x[k], &unsolved = roots.unsolved[k];
      const auto [value, slope] = s(x);
      const double residual = value - y[k];
      const double rounding = 4 * epsilon * (std::abs(y[k]) + bounds.least * std::abs(x));
      x = unsolved == 0 ? x : x - residual / slope;
      unsolved = std::abs(residual) <= std::min(rounding, largest) ? 0 : unsolved;
    }
    left = 0;
    for (Index k = 0; k < roots.size; ++k) left += roots.unsolved[k];
  }
  return roots;
}

// The root of s(x) = z for each element of z, in parallel. For speed, an s of exp, log,
// log1p, tanh, sigmoid or softplus takes them from ops/vector_math.h.
template <class S>
Tensor invert_increasing(const char* flow, const Tensor& z, SlopeBounds bounds, S s) {
  constexpr Index block = BlockOfRoots::size;
  Tensor x = Tensor::empty(z.shape());
  parallel_for(z.size(), 8 * block, [&, out = x.mutable_data(), z = z.data()](Index i, Index end) {
    for (; i < end; i += block) {
      const Index count = std::min(block, end - i);
      double y[block] = {};
      std::copy_n(z + i, count, y);
      const BlockOfRoots roots = solve_block(s, bounds, y);
      for (Index k = 0; k < count; ++k)
        out[i + k] = static_cast<Real>(
            roots.unsolved[k] == 0 ? roots.x[k] : solve_increasing(flow, s, bounds, y[k]));
    }
  });
  return x;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

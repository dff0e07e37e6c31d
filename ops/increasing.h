// The inverse of an increasing function of one number, from its value and its slope.
//
// A flow that transforms each element by an increasing s has s^-1 as its inverse. Where there is no
// formula for it, these functions find the root x of s(x) = y until rounding alone explains what is
// left of s(x) - y. There are two ways:
//
//   slope bounds   one s for all elements, with a slope between two positive numbers; fastest
//   an interval    any increasing s, one for each element: a guess of where the root is
//
// All but invert_together compute in double in both builds.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

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

// ---- By slope bounds --------------------------------------------------------------------------

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

// ---- By an interval ---------------------------------------------------------------------------

// Where the root is. An end may be infinite, and low > high is taken as {high, low}. It may be a
// guess: where the root turns out to be outside, by rounding or more, it is looked for there.
struct Interval {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
};

// The number of T that has as many others between itself and a as between itself and b. In one call
// it crosses half of all exponents; 64 calls of double, 32 of float, leave no number between.
template <class T>
T middle_of_numbers(T a, T b) {
  using Bits = std::conditional_t<sizeof(T) == 8, std::int64_t, std::int32_t>;
  // Whole numbers in the order of the numbers of T, and back: the sign bit alone orders otherwise.
  const auto flipped = [](Bits bits) {
    return bits < 0 ? std::numeric_limits<Bits>::min() - bits : bits;
  };
  const Bits middle =
      std::midpoint(flipped(std::bit_cast<Bits>(a)), flipped(std::bit_cast<Bits>(b)));
  return std::bit_cast<T>(flipped(middle));
}

// A search for the root of s(x) = y that ends whatever the slopes are, zero, infinite or NaN: told
// s(x()) and s'(x()) until it is solved(). Newton's method, as long as each step is at most half of
// the one before. One that is not may be rounding: then the search steps over the root, so that the
// interval becomes as short as the rounding; else it halves the interval, in turns by its length
// and by the numbers within.
template <class T>
class RootSearch {
 public:
  RootSearch(const char* flow, Interval interval, T y)
      : flow_(flow),
        y_(y),
        low_(static_cast<T>(std::min(interval.low, interval.high))),
        high_(static_cast<T>(std::max(interval.low, interval.high))) {
    if (std::isnan(interval.low) || std::isnan(interval.high))
      fail(flow, "the inverse at z = ", y, " was to be between ", interval.low, " and ",
           interval.high);
    x_ = halved();
    if (!std::isfinite(y)) x_ = y;
    solved_ = !std::isfinite(y);
  }

  T x() const { return x_; }
  bool solved() const { return solved_; }

  void tell(T value, T slope) {
    if (std::isnan(value)) fail(flow_, "the inverse of z = ", y_, " met NaN at x = ", x_);
    const T usable = std::isfinite(slope) ? slope : std::numeric_limits<T>::quiet_NaN();
    const T newton_step = (y_ - value) / usable, newton = x_ + newton_step;
    const bool below = value < y_, crossed = below != was_below_;
    was_below_ = below;
    (below ? low_ : high_) = x_;
    (below ? low_known_ : high_known_) = true;
    const bool exact = std::abs(value - y_) <= 2 * epsilon * std::abs(y_);
    if (exact || std::abs(newton_step) <= epsilon * std::abs(x_))
      return solve(newton >= low_ && newton <= high_ ? newton : x_);
    if (high_ - low_ <= epsilon * std::abs(x_) || std::nextafter(low_, high_) >= high_) {
      if (low_known_ && high_known_) return solve(x_);
      open();
    }
    go_to(next(newton_step, crossed));
  }

 private:
  static constexpr T epsilon = std::numeric_limits<T>::epsilon();
  static constexpr int newton_ends = 100;  // evaluations; from then on the interval is halved

  void solve(T x) {
    x_ = x;
    solved_ = true;
  }

  void go_to(T x) {
    last_step_ = std::abs(x - x_);
    x_ = x;
  }

  // All that is left is beside an end that was a guess: look beyond it.
  void open() {
    T& end = low_known_ ? high_ : low_;
    if (std::isinf(end))
      fail(flow_, "no x was found with z = ", y_, ": up to x = ", x_, " all z are ",
           low_known_ ? "less" : "greater");
    end = low_known_ ? infinity : -infinity;
    last_step_ = infinity;
  }

  T halved() {
    by_length_ = !by_length_ && std::isfinite(low_) && std::isfinite(high_);
    return by_length_ ? low_ / 2 + high_ / 2 : middle_of_numbers(low_, high_);
  }

  T next(T newton_step, bool crossed) {
    if (++evaluations_ < newton_ends) {
      const bool good = std::abs(newton_step) <= last_step_ / 2;
      stretch_ = good ? 1 : 2 * stretch_;
      const T step = stretch_ * newton_step, to = x_ + step;
      // Beyond an end that was a guess: see whether it was right.
      if (to < low_ && !low_known_) return low_;
      if (to > high_ && !high_known_) return high_;
      const bool may_stretch = !crossed && std::abs(step) < (high_ - low_) / 4;
      if ((good || may_stretch) && to > low_ && to < high_) return to;
    }
    stretch_ = 1;
    return halved();
  }

  static constexpr T infinity = std::numeric_limits<T>::infinity();
  const char* flow_;
  T y_, low_, high_, x_ = 0, last_step_ = infinity, stretch_ = 1;
  int evaluations_ = 0;
  bool low_known_ = false, high_known_ = false;
  bool was_below_ = false, by_length_ = false, solved_ = false;
};

// The root of s(x) = y; y itself where it is infinite or NaN. Fails in the name of `flow` where s
// is NaN, and where no x of double has it.
template <class S>
double solve_between(const char* flow, S s, Interval interval, double y) {
  RootSearch<double> search(flow, interval, y);
  while (!search.solved()) {
    const ValueAndSlope at = s(search.x());
    search.tell(at.value, at.slope);
  }
  return search.x();
}

// The root of s(i, x) = z[i] in interval(i), for each element i of z, in parallel.
template <class I, class S>
Tensor invert_each(const char* flow, const Tensor& z, I interval, S s) {
  Tensor x = Tensor::empty(z.shape());
  parallel_for(z.size(), 64, [&, out = x.mutable_data(), z = z.data()](Index i, Index end) {
    for (; i < end; ++i)
      out[i] = static_cast<Real>(solve_between(
          flow, [&s, i](double at) -> ValueAndSlope { return s(i, at); }, interval(i), z[i]));
  });
  return x;
}

// The root of s(x) = z, where s maps a Tensor of z's shape to {its values, its slopes}, both of
// that shape, each element increasing in its own x: for an s that is a network. In Real. Where the
// slopes are not known they may be NaN: then the interval is halved, at most 64 times in float, 128
// in double.
template <class S>
Tensor invert_together(const char* flow, const Tensor& z, S s, Interval interval = {}) {
  std::vector<RootSearch<Real>> all;
  for (Real y : z.values()) all.emplace_back(flow, interval, y);
  for (RootSearch<Real>* const searches = all.data();;) {
    Tensor x = Tensor::empty(z.shape());
    bool solved = true;
    for (Index i = 0; i < z.size(); ++i) {
      x.mutable_data()[i] = searches[i].x();
      solved = solved && searches[i].solved();
    }
    if (solved) return x;
    const std::array<Tensor, 2> at = s(x);
    if (at[0].shape() != z.shape() || at[1].shape() != z.shape())
      fail(flow, "values and slopes of shape ", z.shape(), " expected, the shapes are ",
           at[0].shape(), " and ", at[1].shape());
    for (Index i = 0; i < z.size(); ++i)
      if (!searches[i].solved()) searches[i].tell(at[0][i], at[1][i]);
  }
}

}  // namespace backflow::inline BACKFLOW_PRECISION

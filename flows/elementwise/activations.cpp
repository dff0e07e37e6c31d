#include "backflow/flows/elementwise/activations.h"

#include <cmath>
#include <limits>

#include "backflow/engine/parallel.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct ValueAndSlope {
  double value, slope;
};

struct SlopeBounds {
  double least, greatest;
};

// The root x of s(x) = y for increasing s: Newton's method, and bisection of an interval that
// surely holds the root where a Newton step leaves it or does not halve the step before. In double,
// until rounding alone explains the residual; infinite where the root is beyond the largest double.
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

// Newton's method alone, for a block of elements at once: vector instructions. A block is always
// full and an element that is solved stays as it is, so that its bits do not depend on others.
constexpr Index block = 64;
struct Roots {
  double x[block], unsolved[block];  // 0 or 1
};
template <class S>
Roots solve_block(S s, SlopeBounds bounds, const double* y) {
  constexpr int most_steps = 12;
  constexpr double epsilon = std::numeric_limits<double>::epsilon();
  constexpr double largest = std::numeric_limits<double>::max();
  Roots roots;
  for (Index k = 0; k < block; ++k) {
    roots.x[k] = y[k] / bounds.greatest;
    roots.unsolved[k] = 1;
  }
  double left = block;
  for (int step = 0; step < most_steps && left > 0; ++step) {
    for (Index k = 0; k < block; ++k) {
      double &x = roots.x[k], &unsolved = roots.unsolved[k];
      const auto [value, slope] = s(x);
      const double residual = value - y[k];
      const double rounding = 4 * epsilon * (std::abs(y[k]) + bounds.least * std::abs(x));
      x = unsolved == 0 ? x : x - residual / slope;
      unsolved = std::abs(residual) <= std::min(rounding, largest) ? 0 : unsolved;
    }
    left = 0;
    for (Index k = 0; k < block; ++k) left += roots.unsolved[k];
  }
  return roots;
}

template <class S>
Tensor invert(const char* flow, const Tensor& z, SlopeBounds bounds, S s) {
  Tensor x = Tensor::empty(z.shape());
  parallel_for(z.size(), 8 * block, [&, out = x.mutable_data(), z = z.data()](Index i, Index end) {
    for (; i < end; i += block) {
      const Index count = std::min(block, end - i);
      double y[block] = {};
      std::copy_n(z + i, count, y);
      const Roots roots = solve_block(s, bounds, y);
      for (Index k = 0; k < count; ++k)
        out[i + k] = static_cast<Real>(
            roots.unsolved[k] == 0 ? roots.x[k] : solve_increasing(flow, s, bounds, y[k]));
    }
  });
  return x;
}

Tensor is_negative(const Tensor& x) {
  return pointwise(x, [](Real x) { return Real(x < 0); });
}

}  // namespace

Out Identity::forward(const Var& x, Pass&) const { return {x, Tensor::zeros({x.size(0)})}; }
Tensor Identity::inverse(const Tensor& z, Pass&) const { return z; }

LeakyReLU::LeakyReLU(double slope) : slope_(slope) {
  if (!(slope > 0 && std::isfinite(slope)))
    fail("leaky_relu", "the slope must be positive and finite, got ", slope);
}

Out LeakyReLU::forward(const Var& x, Pass&) const {
  return {leaky_relu(x, slope_), sum_examples(is_negative(x.value()) * std::log(slope_))};
}

Tensor LeakyReLU::inverse(const Tensor& z, Pass&) const {
  return leaky_relu(Var(z), 1 / slope_).value();
}

LearnableLeakyReLU::LearnableLeakyReLU()
    : alpha_logit_(add_parameter("alpha_logit", Tensor::zeros({1}))) {}

Var LearnableLeakyReLU::slope() const { return sigmoid(alpha_logit_) + 0.5; }

Out LearnableLeakyReLU::forward(const Var& x, Pass&) const {
  if (x.rank() == 0)  // the slope, of shape (1), would broadcast it
    fail("learnable_leaky_relu", "a batch of examples expected, the shape is ", x.shape());
  const Tensor negative = is_negative(x.value());
  return {where(negative, slope() * x, x), sum_examples(Var(negative) * log(slope()))};
}

Tensor LearnableLeakyReLU::inverse(const Tensor& z, Pass&) const {
  return leaky_relu(Var(z), 1 / slope().item()).value();
}

SmoothLeakyReLU::SmoothLeakyReLU(double alpha) : alpha_(alpha) {
  if (!(alpha > 0 && alpha <= 1))
    fail("smooth_leaky_relu", "alpha must be above 0 and at most 1, got ", alpha);
}

Out SmoothLeakyReLU::forward(const Var& x, Pass&) const {
  const double a = alpha_;
  return {a * x + (1 - a) * softplus(x), sum_examples(log(a + (1 - a) * sigmoid(x)))};
}

Tensor SmoothLeakyReLU::inverse(const Tensor& z, Pass&) const {
  return invert("smooth_leaky_relu", z, {alpha_, 1}, [a = alpha_](double x) -> ValueAndSlope {
    const double e = std::exp(-std::abs(x));  // of the side that cannot overflow
    const double softplus = std::max(x, 0.0) + std::log1p(e);
    const double sigmoid = (x >= 0 ? 1 : e) / (1 + e);
    return {a * x + (1 - a) * softplus, a + (1 - a) * sigmoid};
  });
}

SmoothTanh::SmoothTanh(double alpha, double beta) : alpha_(alpha), beta_(beta) {
  if (!(alpha > 0 && beta > 0 && std::isfinite(alpha) && std::isfinite(beta)))
    fail("smooth_tanh", "alpha and beta must be positive and finite, got ", alpha, " and ", beta);
}

Out SmoothTanh::forward(const Var& x, Pass&) const {
  const Var t = tanh(alpha_ * x);
  return {t + beta_ * x, sum_examples(log(beta_ + alpha_ * (1 - square(t))))};
}

Tensor SmoothTanh::inverse(const Tensor& z, Pass&) const {
  const SlopeBounds bounds{beta_, alpha_ + beta_};
  return invert("smooth_tanh", z, bounds, [a = alpha_, b = beta_](double x) -> ValueAndSlope {
    const double t = std::tanh(a * x);
    return {t + b * x, b + a * (1 - t * t)};
  });
}

}  // namespace backflow::inline BACKFLOW_PRECISION

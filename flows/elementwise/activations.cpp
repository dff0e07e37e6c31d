#include "backflow/flows/elementwise/activations.h"

#include <cmath>

#include "backflow/ops/increasing.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

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
  return invert_increasing(
      "smooth_leaky_relu", z, {alpha_, 1}, [a = alpha_](double x) -> ValueAndSlope {
        return {a * x + (1 - a) * vector_math::softplus(x), a + (1 - a) * vector_math::sigmoid(x)};
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
  return invert_increasing("smooth_tanh", z, bounds,
                           [a = alpha_, b = beta_](double x) -> ValueAndSlope {
                             const double t = vector_math::tanh(a * x);
                             return {t + b * x, b + a * (1 - t * t)};
                           });
}

}  // namespace backflow::inline BACKFLOW_PRECISION

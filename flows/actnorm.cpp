#include "flows/actnorm.h"

#include <cmath>

#include "ops/pointwise.h"
#include "ops/reduce.h"
#include "ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

ActNorm::ActNorm(Index channels)
    : translation_(add_parameter("translation", Tensor::zeros({channels}))),
      log_scale_(add_parameter("log_scale", Tensor::zeros({channels}))),
      initialized_(add_buffer("initialized", Tensor(Real(0)))) {}

Shape ActNorm::per_channel(const Shape& x) const {
  const Index C = translation_.shape()[0];
  if ((x.rank() != 2 && x.rank() != 4) || x[1] != C)
    fail("actnorm", "a batch with ", C, " channels expected, the shape is ", x);
  return x.rank() == 2 ? Shape{C} : Shape{C, 1, 1};
}

void ActNorm::initialize(const Tensor& x) const {
  const std::vector<int> others = x.rank() == 2 ? std::vector{0} : std::vector{0, 2, 3};
  const Index n = x.size() / x.size(1);
  if (n < 2)
    fail("actnorm", "the first batch needs two values per channel, its shape is ", x.shape());
  const Tensor centered = x - mean(x, others, true);
  const Tensor variance = sum(centered * centered, others) * (Real(1) / static_cast<Real>(n - 1));
  translation_.mutable_value() = mean(x, others);
  log_scale_.mutable_value() =
      backflow::pointwise(variance, [](Real v) { return std::log(std::sqrt(v) + Real(1e-8)); });
  initialized_ = Tensor(Real(1));
}

Out ActNorm::forward(const Var& x, Pass& pass) const {
  const Shape shape = per_channel(x.shape());
  if (pass.mode == Mode::train && initialized_.item() == 0) initialize(x.value());
  const Real pixels = x.rank() == 2 ? Real(1) : static_cast<Real>(x.size(2) * x.size(3));
  const Var scale = exp(-reshape(log_scale_, shape));
  return {(x - reshape(translation_, shape)) * scale,
          broadcast_to(-pixels * sum(log_scale_), {x.size(0)})};
}

Tensor ActNorm::inverse(const Tensor& z, Pass&) const {
  const Shape shape = per_channel(z.shape());
  return z * exp(log_scale_).value().reshape(shape) + translation_.value().reshape(shape);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

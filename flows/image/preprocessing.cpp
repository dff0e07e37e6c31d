#include "backflow/flows/image/preprocessing.h"

#include <cmath>

#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"

namespace backflow::inline BACKFLOW_PRECISION {

static Tensor dequantization_noise(const Shape& shape, const Pass& pass) {
  if (!pass.noise) return Tensor::full(shape, 0.5);
  return uniform_noise("dequantization", *pass.noise, pass, shape);
}

Out Dequantization::forward(const Var& x, Pass& pass) const {
  const Tensor z = pointwise("dequantization", x.value(), dequantization_noise(x.shape(), pass),
                             [](Real x, Real u) {  // rounding must not reach the next pixel value
                               return x + u < x + 1 ? x + u : std::nextafter(x + 1, x);
                             });
  return {record("dequantization", z, grad(x, [](const Tensor& g) { return g; })),
          Tensor::zeros({x.size(0)})};
}

Tensor Dequantization::inverse(const Tensor& z, Pass&) const {
  return pointwise(z, [](Real z) { return std::floor(z); });
}

Normalization::Normalization(double translation, double scale)
    : translation_(translation), scale_(scale) {
  if (scale == 0) fail("normalization", "a scale of 0 cannot be inverted");
  if (!std::isfinite(scale) || !std::isfinite(translation))
    fail("normalization", "a finite translation and scale expected, got ", translation, " and ",
         scale);
}

Out Normalization::forward(const Var& x, Pass&) const {
  const double per_example = static_cast<double>(x.size()) / std::max<Index>(1, x.size(0));
  const Real logdet = static_cast<Real>(-per_example * std::log(std::abs(scale_)));
  return {(x - translation_) * (1 / scale_), Tensor::full({x.size(0)}, logdet)};
}

Tensor Normalization::inverse(const Tensor& z, Pass&) const { return z * scale_ + translation_; }

Out Logit::forward(const Var& x, Pass&) const {
  const Var log_x = log(x), log_rest = log(1 - x);
  return {log_x - log_rest, -sum_examples(log_x + log_rest)};
}

Tensor Logit::inverse(const Tensor& z, Pass&) const { return sigmoid(Var(z)).value(); }

Out Sigmoid::forward(const Var& x, Pass&) const {
  return {sigmoid(x), sum_examples(log_sigmoid(x) + log_sigmoid(-x))};
}

Tensor Sigmoid::inverse(const Tensor& z, Pass&) const {
  return (log(Var(z)) - log(1 - Var(z))).value();
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/flows/conditioners/initializers.h"

#include <cmath>

#include "backflow/flows/linear/random_orthogonal.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct Fans {
  Index in, out;
};

Fans fans_of(const Shape& weight) {
  weight.check_size();
  if (weight.rank() < 2 || weight.size() == 0)
    fail("initializer", "a weight (out, in) or (out, in, K, L) with values expected, the shape is ",
         weight);
  return {weight.size() / weight[0], weight.size() / weight[1]};
}

Tensor uniform_within(double bound, const Shape& shape, const Random& random) {
  return (random.uniform(shape) * 2 - 1) * static_cast<Real>(bound);
}

Tensor normal_of(double variance, const Shape& shape, const Random& random) {
  return random.normal(shape) * static_cast<Real>(std::sqrt(variance));
}

std::array<Tensor, 2> without_bias(const Tensor& weight) {
  return {weight, Tensor::zeros({weight.size(0)})};
}

}  // namespace

std::array<Tensor, 2> torch_default(const Shape& weight, const Random& random) {
  const double bound = 1 / std::sqrt(fans_of(weight).in);
  return {uniform_within(bound, weight, random.stream(0)),
          uniform_within(bound, {weight[0]}, random.stream(1))};
}

std::array<Tensor, 2> glorot_uniform(const Shape& weight, const Random& random) {
  const Fans fan = fans_of(weight);
  const double bound = std::sqrt(6.0 / static_cast<double>(fan.in + fan.out));
  return without_bias(uniform_within(bound, weight, random.stream(0)));
}

std::array<Tensor, 2> glorot_normal(const Shape& weight, const Random& random) {
  const Fans fan = fans_of(weight);
  const double variance = 2.0 / static_cast<double>(fan.in + fan.out);
  return without_bias(normal_of(variance, weight, random.stream(0)));
}

std::array<Tensor, 2> he_uniform(const Shape& weight, const Random& random) {
  const double bound = std::sqrt(6.0 / static_cast<double>(fans_of(weight).in));
  return without_bias(uniform_within(bound, weight, random.stream(0)));
}

std::array<Tensor, 2> he_normal(const Shape& weight, const Random& random) {
  const double variance = 2.0 / static_cast<double>(fans_of(weight).in);
  return without_bias(normal_of(variance, weight, random.stream(0)));
}

// Rows, or columns, of a uniformly random rotation are uniformly random as well.
Initializer orthogonal(double gain) {
  if (!std::isfinite(gain) || gain == 0)
    fail("orthogonal", "a finite gain other than 0 expected, got ", gain);
  return [gain](const Shape& weight, const Random& random) {
    const Index rows = weight.rank() == 0 ? 0 : weight[0], columns = fans_of(weight).in;
    const Tensor rotation = random_orthogonal(std::max(rows, columns), random.stream(0));
    const Tensor part = slice(slice(rotation, 0, 0, rows), 1, 0, columns);
    return without_bias(part.reshape(weight) * static_cast<Real>(gain));
  };
}

}  // namespace backflow::inline BACKFLOW_PRECISION

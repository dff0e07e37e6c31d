#include "backflow/flows/bases.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"

namespace backflow::inline BACKFLOW_PRECISION {

Var StandardNormal::log_prob(const Var& z) const {
  const double D = static_cast<double>(z.size()) / std::max<Index>(1, z.size(0));
  return -0.5 * sum_examples(square(z)) - 0.5 * D * std::log(2 * std::numbers::pi);
}

Tensor StandardNormal::sample(const Shape& z, const Random& random, double temperature) const {
  return random.normal(z) * temperature;
}

Var StandardLogistic::log_prob(const Var& z) const {
  return sum_examples(log_sigmoid(z) + log_sigmoid(-z));
}

// The quantile function of a uniform number, which is never 1 but may be 0: then the middle of what
// was rounded to 0.
Tensor StandardLogistic::sample(const Shape& z, const Random& random, double temperature) const {
  return pointwise(random.uniform(z), [temperature](Real u) {
    const double p = std::max<double>(u, std::numeric_limits<Real>::epsilon() / 4);
    return static_cast<Real>(temperature * (std::log(p) - std::log1p(-p)));
  });
}

const StandardNormal& standard_normal() {
  static const StandardNormal base;
  return base;
}

const StandardLogistic& standard_logistic() {
  static const StandardLogistic base;
  return base;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

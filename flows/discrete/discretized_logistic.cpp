#include "backflow/flows/discrete/discretized_logistic.h"

#include <cmath>

#include "backflow/flows/discrete/logistic_mass.h"
#include "backflow/ops/axis.h"
#include "backflow/ops/functions.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/rounding.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

double checked_step(const DiscretizedOptions& options) {
  for (const double positive : {options.step, options.scale})
    if (const Real x = static_cast<Real>(positive); !(x > 0 && std::isfinite(x)))
      fail("discretized_logistic", "a positive step and scale expected, got ", options.step,
           " and ", options.scale);
  if (!std::isfinite(static_cast<Real>(options.mean)))
    fail("discretized_logistic", "a finite mean expected, got ", options.mean);
  return options.step;
}

namespace {

Tensor log_scales(const Shape& shape, const DiscretizedOptions& options) {
  return Tensor::full(shape, static_cast<Real>(std::log(options.scale)));
}

// Fails unless z is a batch of what one example's parameters, without their axis K, are for.
void check_latent(const Shape& z, const Shape& parameters, int rank) {
  bool same = z.rank() == rank + 1;
  for (int i = 0; same && i < rank; ++i) same = z[i + 1] == parameters[i];
  if (!same)
    fail("discretized_logistic", "a batch of the shape of the parameters ", parameters,
         rank < parameters.rank() ? ", without the last axis," : "", " expected, the shape is ", z);
}

Shape with_axis(Shape shape, Index size) {
  shape.push_back(size);
  return shape;
}

Tensor spread_means(const Shape& latent, Index K, const DiscretizedOptions& options) {
  if (K < 1) fail("discretized_logistic", "at least one component expected, got ", K);
  Tensor means = Tensor::empty(with_axis(latent, K));
  for (Index i = 0; i < means.size(); ++i)
    means.mutable_data()[i] =
        static_cast<Real>(options.mean + options.scale * static_cast<double>(2 * (i % K) + 1 - K));
  return means;
}

}  // namespace

Var log_mass(const Var& z, const Var& mean, const Var& log_scale, double step) {
  const Var per_scale = exp(-log_scale), from_mean = z - mean;
  const Var a = (from_mean + 0.5 * step) * per_scale, b = (from_mean - 0.5 * step) * per_scale;
  return log_sigmoid(a) + log_sigmoid(-b) + log1mexp(step * per_scale);
}

Var log_mixture_mass(const Var& z, const Var& logits, const Var& mean, const Var& log_scale,
                     double step) {
  const Var each = reshape(z, with_axis(z.shape(), 1));
  return logsumexp(log_softmax(logits, -1) + log_mass(each, mean, log_scale, step), {-1});
}

Tensor rounded(const Tensor& mean, const Tensor& log_scale, const Tensor& distance, double step) {
  return round_to(mean + distance * exp(Var(log_scale)).value(), step);
}

Tensor chosen(const Tensor& of_components, const Tensor& weights, const Tensor& u) {
  const Index K = weights.size(-1), n = weights.size() / K;
  Tensor out = Tensor::empty(u.shape());
  for_each_element(u.size(), [&, to = out.mutable_data()](Index i) {
    const Real* const weight = weights.data() + i % n * K;
    Index k = 0;
    for (double left = u[i]; k + 1 < K && left >= weight[k]; ++k) left -= weight[k];
    to[i] = of_components[i % n * K + k];
  });
  return out;
}

DiscretizedLogistic::DiscretizedLogistic(const Shape& latent, const DiscretizedOptions& options)
    : step_(checked_step(options)),
      mean_(add_parameter("mean", Tensor::full(latent, static_cast<Real>(options.mean)))),
      log_scale_(add_parameter("log_scale", log_scales(latent, options))) {}

Var DiscretizedLogistic::log_prob(const Var& z) const {
  check_latent(z.shape(), mean_.shape(), mean_.shape().rank());
  return sum_examples(log_mass(z, mean_, log_scale_, step_));
}

Tensor DiscretizedLogistic::sample(const Shape& z, const Random& random, double temperature) const {
  check_latent(z, mean_.shape(), mean_.shape().rank());
  return rounded(mean_.value(), log_scale_.value(),
                 standard_logistic().sample(z, random, temperature), step_);
}

DiscretizedLogisticMixture::DiscretizedLogisticMixture(const Shape& latent, Index K,
                                                       const DiscretizedOptions& options)
    : step_(checked_step(options)),
      logits_(add_parameter("logits", Tensor::zeros(with_axis(latent, K)))),
      mean_(add_parameter("mean", spread_means(latent, K, options))),
      log_scale_(add_parameter("log_scale", log_scales(with_axis(latent, K), options))) {}

Var DiscretizedLogisticMixture::log_prob(const Var& z) const {
  check_latent(z.shape(), mean_.shape(), mean_.shape().rank() - 1);
  return sum_examples(log_mixture_mass(z, logits_, mean_, log_scale_, step_));
}

Tensor DiscretizedLogisticMixture::sample(const Shape& z, const Random& random,
                                          double temperature) const {
  check_latent(z, mean_.shape(), mean_.shape().rank() - 1);
  const Tensor u = random.stream(1).uniform(z), weights = softmax(logits_.value(), -1);
  return rounded(chosen(mean_.value(), weights, u), chosen(log_scale_.value(), weights, u),
                 standard_logistic().sample(z, random.stream(0), temperature), step_);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/flows/discrete/split_mixture.h"

#include <cmath>

#include "backflow/flows/discrete/logistic_mass.h"
#include "backflow/ops/axis.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

static Index checked_parts(Index D, const SplitMixtureOptions& options) {
  if (options.parts < 1 || options.parts > D)
    fail("split_mixture", "1 ... D = ", D, " parts expected, got ", options.parts);
  if (options.net.context != 0)
    fail("split_mixture", "a base takes no context, got one of width ", options.net.context);
  if (options.components.empty()) fail("split_mixture", "at least one component expected, got 0");
  for (const auto& [mean, scale, logit] : options.components) {
    checked_step({options.step, mean, scale});
    if (!std::isfinite(static_cast<Real>(logit)))
      fail("split_mixture", "finite logits expected, got ", logit);
  }
  return options.parts;
}

static Tensor each(const std::vector<DiscretizedComponent>& components,
                   double DiscretizedComponent::*number) {
  Tensor all = Tensor::empty({std::ssize(components)});
  for (Index k = 0; k < all.size(); ++k)
    all.mutable_data()[k] = static_cast<Real>(components[k].*number);
  return all;
}

SplitLogisticMixture::SplitLogisticMixture(Index D, const SplitMixtureOptions& options,
                                           const Random& random)
    : D_(D),
      parts_(checked_parts(D, options)),
      K_(std::ssize(options.components)),
      step_(options.step),
      logits_(each(options.components, &DiscretizedComponent::logit)),
      means_(each(options.components, &DiscretizedComponent::mean)),
      scales_(each(options.components, &DiscretizedComponent::scale)),
      first_(add_parameter("first", Tensor::zeros({first_of(1), 3 * K_}))) {
  for (Index part = 1; part < parts_; ++part) {
    const Index outputs = (first_of(part + 1) - first_of(part)) * 3 * K_;
    Mlp& net = nets_.emplace_back(first_of(part), outputs, options.net,
                                  random.stream(static_cast<std::uint32_t>(part)));
    net.start_at(Tensor::zeros({outputs}));
    add_module("nets." + std::to_string(part), net);
  }
}

void SplitLogisticMixture::check_latent(const Shape& z) const {
  if (z.rank() != 2 || z[1] != D_)
    fail("split_mixture", "a batch (B, ", D_, ") expected, the shape is ", z);
}

Var SplitLogisticMixture::parameters_of(Index part, const Var& before) const {
  const Index B = before.size(0);
  if (part == 0) return broadcast_to(first_, {B, first_of(1), 3 * K_});
  const Mlp& net = *std::next(nets_.begin(), part - 1);
  return reshape(net(before), {B, first_of(part + 1) - first_of(part), 3 * K_});
}

SplitLogisticMixture::Mixture SplitLogisticMixture::mixture(const Var& parameters) const {
  const std::vector<Var> wuv = split(parameters, 3, 2);
  const double least = std::log(step_ / 50), most = std::log(step_ * 1e15);
  return {wuv[0] + logits_, wuv[1] * scales_ + means_,
          clamp(wuv[2] + log(Var(scales_)), least, most)};
}

Var SplitLogisticMixture::log_prob(const Var& z) const {
  check_latent(z.shape());
  std::vector<Var> parameters;
  for (Index part = 0; part < parts_; ++part)
    parameters.push_back(parameters_of(part, slice(z, 1, 0, first_of(part))));
  const auto [logits, mean, log_scale] = mixture(concat(parameters, 1));
  return sum_examples(log_mixture_mass(z, logits, mean, log_scale, step_));
}

Tensor SplitLogisticMixture::sample(const Shape& shape, const Random& random,
                                    double temperature) const {
  check_latent(shape);
  const NoGrad no_grad;
  const Tensor u = random.stream(1).uniform(shape);
  const Tensor distance = standard_logistic().sample(shape, random.stream(0), temperature);
  Tensor z = Tensor::empty({shape[0], 0});
  for (Index part = 0; part < parts_; ++part) {
    const Index first = first_of(part), end = first_of(part + 1);
    const auto [logits, mean, log_scale] = mixture(parameters_of(part, z));
    const Tensor weights = softmax(logits.value(), -1), choice = slice(u, 1, first, end);
    const Tensor drawn =
        rounded(chosen(mean.value(), weights, choice), chosen(log_scale.value(), weights, choice),
                slice(distance, 1, first, end), step_);
    z = concat({z, drawn}, 1);
  }
  return z;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

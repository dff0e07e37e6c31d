#include "backflow/apps/model/model.h"

#include "backflow/apps/model/architectures.h"
#include "backflow/apps/model/layers.h"
#include "backflow/flows/image/preprocessing.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Model::Parts {
  std::vector<std::unique_ptr<Flow>> layers;
  std::unique_ptr<Base> base;
  Shape latent;
  bool exact_likelihood;
};

static const Base& standard_normal_base() { return standard_normal(); }

static void add_preprocessing(std::vector<std::unique_ptr<Flow>>& layers, double a) {
  layers.push_back(std::make_unique<Dequantization>());
  layers.push_back(std::make_unique<Normalization>(0.0, 256.0));
  layers.push_back(std::make_unique<Normalization>(-a, 1 / (1 - 2 * a)));
  layers.push_back(std::make_unique<Logit>());
}

Model::Parts Model::build(const Config& config, const ImageShape& image,
                          const std::optional<ParameterBudget>& budget) {
  const auto make_base = layers()[config.layer].make_base;
  Parts parts{};
  if (!make_base) add_preprocessing(parts.layers, config.logit_alpha);
  Claims claims(budget);
  Plan plan = plan_of(config, image);
  for (Part& part : plan.parts) {
    part.site.claims = &claims;
    parts.layers.push_back(part.make(part.site));
  }
  if (make_base) parts.base = make_base(plan.parts.back().site);
  parts.latent = plan.latent;
  parts.exact_likelihood = image.size() <= layers()[config.layer].most_exact;
  return parts;
}

Model::Model(const Config& config, const ImageShape& image,
             const std::optional<ParameterBudget>& budget)
    : Model(build(config, image, budget), image, contexts()[config.context]) {}

Model::Model(Parts parts, const ImageShape& image, const ContextRow& context)
    : image_(image),
      context_(context),
      exact_likelihood_(parts.exact_likelihood),
      flow_(std::make_unique<Sequential>(std::move(parts.layers))),
      base_(std::move(parts.base)),
      density_(std::make_unique<Density>(*flow_, parts.latent,
                                         base_ ? std::as_const(*base_) : standard_normal_base())) {}

Index Model::parameter_count() const {
  Index count = 0;
  for (const auto& [name, parameter] : density_->parameters()) count += parameter->value().size();
  return count;
}

Index parameter_count(Config config, const ImageShape& image) {
  const Index steps = config.block_size;
  const auto with_steps = [&](Index n) {
    config.block_size = n;
    return Model(config, image).parameter_count();
  };
  if (!architectures()[config.architecture].of_blocks || steps < 3) return with_steps(steps);
  const Index one = with_steps(1);
  return one + (steps - 1) * (with_steps(2) - one);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

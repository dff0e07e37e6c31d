#include "backflow/apps/model/model.h"

#include "backflow/apps/model/architectures.h"
#include "backflow/flows/image/preprocessing.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Model::Parts {
  std::vector<std::unique_ptr<Flow>> layers;
  Shape latent;
};

Model::Parts Model::build(const Config& config, const ImageShape& image,
                          const std::optional<ParameterBudget>& budget) {
  const double a = config.logit_alpha;
  std::vector<std::unique_ptr<Flow>> layers;
  layers.push_back(std::make_unique<Dequantization>());
  layers.push_back(std::make_unique<Normalization>(0.0, 256.0));
  layers.push_back(std::make_unique<Normalization>(-a, 1 / (1 - 2 * a)));
  layers.push_back(std::make_unique<Logit>());
  Claims claims(budget);
  Plan plan = plan_of(config, image);
  for (Part& part : plan.parts) {
    part.site.claims = &claims;
    layers.push_back(part.make(part.site));
  }
  return {std::move(layers), plan.latent};
}

Model::Model(const Config& config, const ImageShape& image,
             const std::optional<ParameterBudget>& budget)
    : Model(build(config, image, budget), image, contexts()[config.context]) {}

Model::Model(Parts parts, const ImageShape& image, const ContextRow& context)
    : image_(image),
      context_(context),
      flow_(std::make_unique<Sequential>(std::move(parts.layers))),
      density_(std::make_unique<Density>(*flow_, parts.latent)) {}

Index Model::parameter_count() const {
  Index count = 0;
  for (const auto& [name, parameter] : flow_->parameters()) count += parameter->value().size();
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

#include "apps/experiments.h"

#include <cmath>

#include "apps/nearest.h"
#include "flows/activations.h"
#include "flows/preprocessing.h"
#include "flows/self_normalizing.h"
#include "ops/pointwise.h"
#include "ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

const std::vector<Experiment>& experiments() {
  static const std::vector<Experiment> all = [] {
    Config exact{.experiment = "exact_fc_mnist", .layer = "exact", .epochs = 6000};
    Config selfnorm{.experiment = "selfnorm_fc_mnist", .epochs = 6000};
    Config relative{.experiment = "relative_gradient_fc_mnist",
                    .layer = "relative_gradient",
                    .init = "orthogonal",
                    .warmup_epochs = 0,
                    .epochs = 6000};
    return std::vector<Experiment>{
        {"2 exact FC, smooth leaky ReLU", 947.6, "947.6 +- 0.2", exact},
        {"2 self-normalizing FC, smooth leaky ReLU", 947.1, "947.1 +- 0.2", selfnorm},
        {"2 relative-gradient FC, smooth leaky ReLU", 1096.5, "1096.5 +- 0.5", relative}};
  }();
  return all;
}

const Experiment& find_experiment(const std::string& name) {
  std::vector<std::string> names;
  for (const Experiment& experiment : experiments()) {
    names.push_back(experiment.config.experiment);
    if (names.back() == name) return experiment;
  }
  fail("experiment", "there is no '", name, "'; did you mean '", nearest(name, names),
       "'? 'snf list' shows all");
}

static std::unique_ptr<Flow> make_activation(const Config& config) {
  const std::string& name = config.activation;
  if (name == "identity") return std::make_unique<Identity>();
  if (name == "leaky_relu") return std::make_unique<LeakyReLU>(config.alpha);
  if (name == "learnable_leaky_relu") return std::make_unique<LearnableLeakyReLU>();
  if (name == "smooth_tanh") return std::make_unique<SmoothTanh>(config.alpha);
  return std::make_unique<SmoothLeakyReLU>(config.alpha);
}

// The authors' initial values: W = I and a bias as wide as the entries of that matrix; or, for the
// relative gradient, a random orthogonal W and no bias. R = W^T, the inverse of both.
static std::unique_ptr<Flow> make_linear(const Config& config, Index D, const Random& random) {
  const bool orthogonal = config.init == "orthogonal";
  const Tensor W = orthogonal ? random_orthogonal(D, random) : Tensor::identity(D);
  const double spread = std::sqrt((1 - 1.0 / D) / D);
  const Tensor b = orthogonal ? Tensor::zeros({D}) : random.normal({1, D}).reshape({D}) * spread;
  if (config.layer == "exact") return std::make_unique<Exact>(W, b);
  if (config.layer == "relative_gradient") return std::make_unique<RelativeGradient>(W, b);
  return std::make_unique<SelfNormalizing>(
      W, transpose(W), b,
      ReconstructionOptions{config.recon_weight, config.recon_symmetric, config.recon_only_R});
}

static std::unique_ptr<Sequential> make_flow(const Config& config, const ImageShape& image) {
  const double a = config.logit_alpha;
  std::vector<std::unique_ptr<Flow>> layers;
  layers.push_back(std::make_unique<Dequantization>());
  layers.push_back(std::make_unique<Normalization>(0, 256));
  layers.push_back(std::make_unique<Normalization>(-a, 1 / (1 - 2 * a)));
  layers.push_back(std::make_unique<Logit>());
  for (Index i = 0; i < config.num_layers; ++i) {
    if (i > 0) layers.push_back(make_activation(config));
    const Random random(config.seed, Purpose::initialization, static_cast<std::uint32_t>(i));
    layers.push_back(make_linear(config, image.size(), random));
  }
  return std::make_unique<Sequential>(std::move(layers));
}

// Products of 2 D^2 flop per example. Self-normalizing: z, R z, W^T d_z, R^T e, dW, dR. Relative
// gradient: z, W^T z, W^T d_z, dW. Exact: z, W^T d_z, dW, and 2 D^3 for an LU and an inverse.
Model::Model(const Config& config, const ImageShape& image)
    : image_(image),
      has_learned_inverse_(config.layer == "self_normalizing"),
      objective_is_likelihood_(config.layer == "exact"),
      flow_(make_flow(config, image)),
      density_(*flow_, Shape{image.size()}) {
  const double D = image.size();
  const double products = has_learned_inverse_ ? 6 : config.layer == "exact" ? 3 : 4;
  flop_per_example_ = config.num_layers * products * 2 * D * D;
  flop_per_step_ = config.layer == "exact" ? config.num_layers * 2 * D * D * D : 0;
}

Index Model::parameter_count() const {
  Index count = 0;
  for (const auto& [name, parameter] : flow_->parameters()) count += parameter->value().size();
  return count;
}

double Model::necessary_flop(Index batch) const {
  return batch * flop_per_example_ + flop_per_step_;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/apps/model/experiments.h"

#include <algorithm>
#include <array>
#include <numbers>

#include "backflow/apps/files/quote.h"
#include "backflow/apps/model/architectures.h"
#include "backflow/apps/model/datasets.h"
#include "backflow/apps/model/layers.h"
#include "backflow/apps/model/nearest.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Experiment nats(double nll, const std::string& paper, Config config) {
  return {paper, nll, std::move(config)};
}

Experiment bits(double bits_per_dim, const std::string& paper, Config config) {
  const auto dimensions = static_cast<double>(datasets()[config.dataset].shape.size());
  return {paper + " bits/dim", bits_per_dim * dimensions * std::numbers::ln2, std::move(config)};
}

Config fc(const char* name, const char* layer) {
  return {.experiment = name, .layer = layer, .epochs = 6000};
}

Config cnn(const char* name, const char* layer) {
  return {.experiment = name,
          .architecture = "cnn",
          .layer = layer,
          .activation = "spline",
          .lr = 1e-3,
          .epochs = 1000};
}

Config glow(const char* name, const char* dataset, const char* layer, Index num_blocks,
            Index block_size, double recon_weight) {
  return {.experiment = name,
          .dataset = dataset,
          .architecture = "glow",
          .layer = layer,
          .num_blocks = num_blocks,
          .block_size = block_size,
          .width = 512,
          .kernel_size = 1,
          .recon_weight = recon_weight,
          .lr = 1e-3,
          .epochs = 250};
}

// Networks as their authors had them, those of MAF for Real NVP too, and smaller ones for splines,
// which ask for 23 numbers for each pixel and have no figure for MNIST; trained for ten epochs, at
// ten times the learning rate of MAF's authors, who went on until nothing improved for 30.
Config vector_flow(const char* name, const char* layer, Index num_layers, Index depth,
                   Index width) {
  return {.experiment = name,
          .architecture = "vector",
          .layer = layer,
          .num_layers = num_layers,
          .width = width,
          .depth = depth,
          .lr = 1e-3,
          .warmup_epochs = 0,
          .schedule = "cosine",
          .epochs = 10};
}

// Ten epochs take a few minutes.
Config small_vector_flow(const char* name, const char* layer, Index num_layers) {
  Config config = vector_flow(name, layer, num_layers, 1, 128);
  config.max_grad_norm = 1000;
  return config;
}

std::vector<Experiment> make_experiments() {
  Config relative = fc("relative_gradient_fc_mnist", "relative_gradient");
  relative.init = "orthogonal";
  relative.warmup_epochs = 0;

  Config geco = glow("geco_selfnorm_glow_mnist", "mnist", "self_normalizing", 2, 4, 1);
  geco.width = 16;
  geco.kernel_size = 5;
  geco.geco_rate = 1e-3;
  geco.epochs = 1000;

  Config exact_mnist = glow("conv1x1_glow_mnist", "mnist", "conv1x1", 2, 16, 0);
  Config selfnorm_mnist = glow("selfnorm_glow_mnist", "mnist", "self_normalizing", 2, 16, 100);
  Config exact_cifar = glow("conv1x1_glow_cifar", "cifar10", "conv1x1", 3, 32, 0);
  Config selfnorm_cifar = glow("selfnorm_glow_cifar", "cifar10", "self_normalizing", 3, 32, 1000);
  Config exact_imagenet = glow("conv1x1_glow_imagenet", "imagenet32", "conv1x1", 3, 48, 0);
  Config selfnorm_imagenet =
      glow("selfnorm_glow_imagenet", "imagenet32", "self_normalizing", 3, 48, 1000);
  // Both of a pair alike, where the authors' code gave it to one of them only.
  exact_mnist.augment = selfnorm_mnist.augment = "shift";
  exact_cifar.augment = selfnorm_cifar.augment = "flip_shift";
  selfnorm_cifar.max_grad_norm = 10'000;
  for (Config* config : {&exact_imagenet, &selfnorm_imagenet}) {
    config->max_grad_norm = 10'000;
    config->warmup_epochs = 0;
    config->batch_size = 64;
  }

  return {nats(1096.5, "1096.5 +- 0.5", relative),
          nats(947.6, "947.6 +- 0.2", fc("exact_fc_mnist", "exact")),
          nats(947.1, "947.1 +- 0.2", fc("selfnorm_fc_mnist", "self_normalizing")),
          nats(645.7, "645.7 +- 3.6", cnn("emerging_cnn_mnist", "emerging")),
          nats(638.6, "638.6 +- 0.9", cnn("selfnorm_cnn_mnist", "self_normalizing")),
          nats(638.1, "638.1 +- 1.0", cnn("exponential_cnn_mnist", "exponential")),
          nats(637.4, "637.4 +- 0.2", cnn("exact_cnn_mnist", "exact")),
          nats(575.7, "575.7 +- 0.8", exact_mnist),
          nats(575.4, "575.4 +- 1.4", selfnorm_mnist),
          {"see its Table A.5", {}, geco},
          bits(3.36, "3.36", exact_cifar),
          bits(3.37, "3.37", selfnorm_cifar),
          bits(4.12, "4.12", exact_imagenet),
          bits(4.14, "4.14", selfnorm_imagenet),
          // On the pixels themselves, without the logit, and with a logistic base: 1980.50 nats of
          // a density on [0, 1], which is 784 log 256 more than on [0, 256].
          {"4.36 bits/dim, no logit", {}, vector_flow("nice_mnist", "nice", 4, 5, 1000)},
          {"1.06 bits/dim, with convolutions",
           {},
           vector_flow("realnvp_mnist", "real_nvp", 5, 2, 1024)},
          bits(1.89, "1.89", vector_flow("maf_mnist", "maf", 5, 2, 1024)),
          {"", {}, vector_flow("nsf_mnist", "neural_spline_coupling", 5, 1, 256)},
          {"", {}, small_vector_flow("idf_mnist", "integer_discrete_flow", 4)},
          {"0.97 bits/dim, with convolutions",
           {},
           small_vector_flow("residual_mnist", "residual_flow", 4)}};
}

// What decides which model it is; not how it begins, how it is trained, or how far.
constexpr std::array model_fields = {
    "dataset", "context", "architecture", "layer",      "num_layers", "num_blocks", "block_size",
    "width",   "depth",   "kernel_size",  "activation", "alpha",      "logit_alpha"};

}  // namespace

const std::vector<Experiment>& experiments() {
  static const std::vector<Experiment> all = make_experiments();
  return all;
}

const Experiment& find_experiment(const std::string& name) {
  std::vector<std::string> names;
  for (const Experiment& experiment : experiments()) {
    names.push_back(experiment.config.experiment);
    if (names.back() == name) return experiment;
  }
  fail("experiment", "there is no ", quote(name, '\''), "; did you mean '", nearest(name, names),
       "'? 'snf list' shows all");
}

std::string model_description(const Config& c) {
  const bool geco = layers()[c.layer].has_reconstruction && c.geco_rate > 0;
  return architectures()[c.architecture].describe(c) + (geco ? ", GECO" : "");
}

bool is_papers_model(const Config& config) {
  for (const Experiment& experiment : experiments()) {
    if (experiment.config.experiment != config.experiment) continue;
    if (experiment.paper.empty()) return false;
    return std::all_of(model_fields.begin(), model_fields.end(), [&](const char* key) {
      return field_as_text(config, key) == field_as_text(experiment.config, key);
    });
  }
  return false;
}

bool is_comparable(const Config& config, const ImageSplits& images) {
  return is_papers_model(config) && images.published &&
         images.name == datasets()[config.dataset].title;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "apps/experiments.h"

#include <numbers>

#include "apps/io/datasets.h"
#include "apps/io/quote.h"
#include "apps/nearest.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Experiment nats(const std::string& model, double nll, const std::string& paper, Config config) {
  return {model, paper, nll, std::move(config)};
}

Experiment bits(const std::string& model, double bits_per_dim, const std::string& paper,
                Config config) {
  constexpr double dimensions = 3 * 32 * 32;
  return {model, paper + " bits/dim", bits_per_dim * dimensions * std::numbers::ln2,
          std::move(config)};
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

  const std::string blocks = ", 3 blocks, spline";
  return {
      nats("2 relative-gradient FC, smooth leaky ReLU", 1096.5, "1096.5 +- 0.5", relative),
      nats("2 exact FC, smooth leaky ReLU", 947.6, "947.6 +- 0.2", fc("exact_fc_mnist", "exact")),
      nats("2 self-normalizing FC, smooth leaky ReLU", 947.1, "947.1 +- 0.2",
           fc("selfnorm_fc_mnist", "self_normalizing")),
      nats("9 emerging convolutions" + blocks, 645.7, "645.7 +- 3.6",
           cnn("emerging_cnn_mnist", "emerging")),
      nats("9 self-normalizing conv 3x3" + blocks, 638.6, "638.6 +- 0.9",
           cnn("selfnorm_cnn_mnist", "self_normalizing")),
      nats("9 convolution exponentials" + blocks, 638.1, "638.1 +- 1.0",
           cnn("exponential_cnn_mnist", "exponential")),
      nats("9 exact conv 3x3" + blocks, 637.4, "637.4 +- 0.2", cnn("exact_cnn_mnist", "exact")),
      nats("Glow L=2 K=16, 1x1 conv", 575.7, "575.7 +- 0.8", exact_mnist),
      nats("Glow L=2 K=16, self-normalizing 1x1", 575.4, "575.4 +- 1.4", selfnorm_mnist),
      {"Glow L=2 K=4, self-normalizing 5x5, GECO", "see its Table A.5", {}, geco},
      bits("Glow L=3 K=32, 1x1 conv", 3.36, "3.36", exact_cifar),
      bits("Glow L=3 K=32, self-normalizing 1x1", 3.37, "3.37", selfnorm_cifar),
      bits("Glow L=3 K=48, 1x1 conv", 4.12, "4.12", exact_imagenet),
      bits("Glow L=3 K=48, self-normalizing 1x1", 4.14, "4.14", selfnorm_imagenet)};
}

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

bool is_comparable(const Experiment& experiment, const ImageSplits& images) {
  return images.published && images.name == title_of(experiment.config.dataset);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

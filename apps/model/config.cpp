#include "backflow/apps/model/config.h"

#include <cmath>
#include <vector>

#include "backflow/apps/model/activations.h"
#include "backflow/apps/model/architectures.h"
#include "backflow/apps/model/augmentations.h"
#include "backflow/apps/model/contexts.h"
#include "backflow/apps/model/datasets.h"
#include "backflow/apps/model/initial_values.h"
#include "backflow/apps/model/layers.h"
#include "backflow/apps/model/nearest.h"
#include "backflow/apps/model/optimizers.h"
#include "backflow/apps/model/schedules.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

[[noreturn]] void fail_unknown_key(const std::string& key) {
  std::string known;
  std::vector<std::string> names;
  const Config config;
  Config::visit(config, [&](const std::string& name, const auto&, const char*) {
    if (name == "experiment") return;  // known, but not to be set
    known += (known.empty() ? "" : ", ") + name;
    names.push_back(name);
  });
  fail("--set", "unknown key ", quote(key, '\''), ", did you mean '", nearest(key, names),
       "'? Known: ", known);
}

void require(bool condition, const char* key, const std::string& expected, const auto& found) {
  if (!condition) fail(key, "expected ", expected, ", got ", found);
}

// "exact, emerging or conv1x1"
std::string either(const std::vector<std::string>& names) {
  std::string text = names[0];
  for (std::size_t i = 1; i < names.size(); ++i)
    text += (i + 1 < names.size() ? ", " : " or ") + names[i];
  return text;
}

// "fc: exact, self_normalizing, relative_gradient; cnn: exact, ..."
std::string layers_by_architecture() {
  std::string text;
  for (const std::string& architecture : architectures().names()) {
    const auto suits = [&](const LayerRow& row) { return row.suits(architecture); };
    text += (text.empty() ? "" : "; ") + architecture + ": " + layers().where(suits).in_words();
  }
  return text;
}

}  // namespace

const Meanings& meanings() {
  static const Meanings all{
      .dataset = either(datasets().names()),
      .augment = "random changes of training images: " + either(augmentations().names()),
      .context = "what the flow is told of each image: " + either(contexts().names()),
      .architecture = either(architectures().names()),
      .layer = layers_by_architecture(),
      .activation = either(activations().names()),
      .init = "fc: " + either(initial_values().names()),
      .optimizer = either(optimizers().names()),
      .schedule = "of the learning rate: " + either(schedules().names())};
  return all;
}

void set_field(Config& config, const std::string& key, const std::string& value) {
  if (key == "experiment")
    fail(key, "cannot be set; name another experiment in place of '", config.experiment, "'");
  if (!assign_field(config, key, value)) fail_unknown_key(key);
}

void validate(const Config& c) {
  datasets()[c.dataset];
  augmentations()[c.augment];
  architectures()[c.architecture];
  check_layer(c.layer, c.architecture);
  check_layer_context(c.context, c.layer);
  initial_values()[c.init];
  optimizers()[c.optimizer];
  schedules()[c.schedule];
  const ActivationRow& activation = activations()[c.activation];
  const auto at_least = [](const char* key, auto value, auto least) {
    require(std::isfinite(static_cast<double>(value)) && value >= least, key,
            "at least " + json_value(least), value);
  };
  const auto in_range = [](const char* key, auto value, Index least, Index most) {
    require(value >= least && value <= most, key,
            std::to_string(least) + " to " + std::to_string(most), value);
  };
  constexpr Index many = 1'000'000'000;  // products of two of them still fit
  in_range("num_layers", c.num_layers, 1, 1000);
  in_range("num_blocks", c.num_blocks, 1, 16);
  in_range("block_size", c.block_size, 1, 1000);
  in_range("width", c.width, 1, 65536);
  in_range("depth", c.depth, 0, 100);
  in_range("kernel_size", c.kernel_size, 1, 99);
  require(c.kernel_size % 2 == 1, "kernel_size", "an odd number", c.kernel_size);
  in_range("batch_size", c.batch_size, 1, many);
  in_range("shards", c.shards, 1, std::min<Index>(c.batch_size, 4096));
  in_range("epochs", c.epochs, 1, many);
  in_range("limit_batches", c.limit_batches, 0, many);
  in_range("warmup_epochs", c.warmup_epochs, 0, many);
  in_range("lr_decay_epochs", c.lr_decay_epochs, 1, many);
  at_least("seed", c.seed, Index{0});
  at_least("recon_weight", c.recon_weight, 0.0);
  at_least("geco_rate", c.geco_rate, 0.0);
  at_least("max_grad_norm", c.max_grad_norm, 0.0);
  at_least("weight_decay", c.weight_decay, 0.0);
  require(std::isfinite(c.lr) && c.lr > 0, "lr", "a positive number", c.lr);
  require(c.lr_decay > 0 && c.lr_decay <= 1, "lr_decay", "a number above 0, at most 1", c.lr_decay);
  require(c.alpha > 0 && std::isfinite(c.alpha), "alpha", "a positive number", c.alpha);
  if (c.alpha > activation.most_alpha)
    fail("alpha", "expected at most ", activation.most_alpha, " for ", activation.name, ", got ",
         c.alpha);
  require(c.logit_alpha > 0 && c.logit_alpha < 0.5, "logit_alpha", "a number between 0 and 0.5",
          c.logit_alpha);
  for (const auto& [key, beta] :
       {std::pair{"momentum", c.momentum}, std::pair{"adam_beta1", c.adam_beta1},
        std::pair{"adam_beta2", c.adam_beta2}, std::pair{"geco_decay", c.geco_decay}})
    require(beta >= 0 && beta < 1, key, "a number from 0 up to, not including, 1", beta);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

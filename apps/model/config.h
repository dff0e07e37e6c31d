// Everything that decides the outcome of a run, field by field: what config.json holds and what
// --set reaches.
#pragma once

#include <string>

#include "backflow/apps/model/fields.h"

namespace backflow::inline BACKFLOW_PRECISION {

// What --help says of the fields that hold the name of a row of a table: which names there are.
struct Meanings {
  std::string dataset, augment, context, architecture, layer, activation, init, optimizer, schedule;
};
const Meanings& meanings();

struct Config {
  std::string experiment;
  std::string dataset = "mnist";
  std::string augment = "none";
  std::string context = "none";
  std::string architecture = "fc";
  std::string layer = "self_normalizing";
  Index num_layers = 2;
  Index num_blocks = 3;
  Index block_size = 3;
  Index width = 512;
  Index depth = 2;
  Index kernel_size = 3;
  std::string activation = "smooth_leaky_relu";
  double alpha = 0.3;
  std::string init = "identity";
  double recon_weight = 1;
  bool recon_symmetric = false;
  bool recon_only_R = false;
  double geco_rate = 0;
  double geco_decay = 0.9;
  double logit_alpha = 1e-6;
  double lr = 1e-4;
  double warmup_epochs = 10;
  std::string schedule = "linear_warmup";
  double lr_decay = 0.1;
  Index lr_decay_epochs = 30;
  std::string optimizer = "adam";
  double momentum = 0.9;
  double adam_beta1 = 0.9;
  double adam_beta2 = 0.999;
  double weight_decay = 0;
  double max_grad_norm = 0;
  Index batch_size = 100;
  Index shards = 1;
  Index epochs = 10;
  Index limit_batches = 0;
  bool shuffle = true;
  Index seed = 0;

  // f(key, field, meaning) for every field, in order. The one list of them.
  template <class Self, class F>
  static void visit(Self& self, F f) {
    f("experiment", self.experiment, "the experiment's name");
    f("dataset", self.dataset, meanings().dataset.c_str());
    f("augment", self.augment, meanings().augment.c_str());
    f("context", self.context, meanings().context.c_str());
    f("architecture", self.architecture, meanings().architecture.c_str());
    f("layer", self.layer, meanings().layer.c_str());
    f("num_layers", self.num_layers, "fc, vector: how many of them");
    f("num_blocks", self.num_blocks,
      "cnn, glow: blocks, with a squeeze between (glow: before) them");
    f("block_size", self.block_size, "cnn, glow: layers, or steps of flow, in a block");
    f("width", self.width,
      "glow: hidden channels of the couplings; vector: units of a hidden layer");
    f("depth", self.depth, "vector: hidden layers of a network");
    f("kernel_size", self.kernel_size, "exact and self_normalizing convolutions: an odd number");
    f("activation", self.activation, meanings().activation.c_str());
    f("alpha", self.alpha, "the activation's slope (leaky_relu, smooth_leaky_relu) or gain");
    f("init", self.init, meanings().init.c_str());
    f("recon_weight", self.recon_weight, "weight of the reconstruction loss");
    f("recon_symmetric", self.recon_symmetric, "reconstruct z as well as x");
    f("recon_only_R", self.recon_only_R, "keep the reconstruction loss from W");
    f("geco_rate", self.geco_rate,
      "that weight grows by exp(rate x average loss) a step; 0: fixed");
    f("geco_decay", self.geco_decay, "of that average");
    f("logit_alpha", self.logit_alpha, "pixels are squeezed into (alpha, 1 - alpha)");
    f("lr", self.lr, "learning rate after warm-up");
    f("warmup_epochs", self.warmup_epochs,
      "the learning rate rises linearly for so long (not if schedule=constant)");
    f("schedule", self.schedule, meanings().schedule.c_str());
    f("lr_decay", self.lr_decay, "steps: what the learning rate is multiplied by");
    f("lr_decay_epochs", self.lr_decay_epochs, "steps: after every so many epochs");
    f("optimizer", self.optimizer, meanings().optimizer.c_str());
    f("momentum", self.momentum, "sgd: the velocity's decay; 0: plain gradient descent");
    f("adam_beta1", self.adam_beta1, "adam, adamw, adamax: the first decay");
    f("adam_beta2", self.adam_beta2, "adam, adamw, adamax: the second decay");
    f("weight_decay", self.weight_decay, "adamw: a step takes lr x so much of each parameter");
    f("max_grad_norm", self.max_grad_norm, "clip the gradient's global norm; 0: never");
    f("batch_size", self.batch_size, "images per training step");
    f("shards", self.shards, "graphs that a batch is cut into: less memory, or a thread for each");
    f("epochs", self.epochs, "passes over the training set");
    f("limit_batches", self.limit_batches, "training steps per epoch at most; 0: all");
    f("shuffle", self.shuffle, "a new random order in each epoch");
    f("seed", self.seed, "of initialization, order and noise");
  }
};

// Sets the field `key` from text. Fails for an unknown key (listing the known ones) or a value of
// the wrong type.
void set_field(Config& config, const std::string& key, const std::string& value);
// Fails, naming the key, when a value makes no sense.
void validate(const Config& config);

// Fails, naming `where`, for anything that is not a sensible configuration.
inline Config config_from_json(const std::string& where, const std::string& text) {
  return from_json<Config>(where, text);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

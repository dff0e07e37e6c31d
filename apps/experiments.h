// The experiments by name, and the models they train.
#pragma once

#include "apps/config.h"
#include "flows/density.h"
#include "flows/sequential.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Experiment {
  std::string model;     // in a few words
  double paper_nll = 0;  // the paper's converged test NLL, nats per image
  std::string paper;     // the same with its spread
  Config config;         // its defaults; config.experiment is its name
};

const std::vector<Experiment>& experiments();
// Fails for an unknown name and suggests the nearest.
const Experiment& find_experiment(const std::string& name);

struct ImageShape {
  Index channels = 1, height = 28, width = 28;
  Index size() const { return channels * height * width; }
};

// A flow over images with pixels 0..255: dequantize, normalize to (0, 1), squeeze into
// (a, 1 - a), logit, and from index 4 on the experiment's layers.
class Model {
 public:
  Model(const Config& config, const ImageShape& image);

  Sequential& flow() { return *flow_; }
  const Sequential& flow() const { return *flow_; }
  const Density& density() const { return density_; }
  const ImageShape& image() const { return image_; }
  Index parameter_count() const;
  bool has_learned_inverse() const { return has_learned_inverse_; }
  // False: training minimises something that lacks log-determinants, though not their gradients.
  bool objective_is_likelihood() const { return objective_is_likelihood_; }
  // Of the matrix products that one training step on a batch cannot do without; see bench.
  double necessary_flop(Index batch) const;

 private:
  ImageShape image_;
  bool has_learned_inverse_, objective_is_likelihood_;
  double flop_per_example_, flop_per_step_;
  std::unique_ptr<Sequential> flow_;
  Density density_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

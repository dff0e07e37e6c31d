// Gradient descent: one pass over each parameter, in place.
#pragma once

#include "engine/backward.h"
#include "engine/module.h"

namespace backflow::inline BACKFLOW_PRECISION {

// sqrt(sum of squares) over all the parameters' gradients.
double global_norm(const Gradients& gradients, const std::vector<NamedParameter>& parameters);

// The learning rate's factor in a linear warm-up: reaches 1 with step number `warmup_steps`;
// steps count from 1. No warm-up: 1.
double linear_warmup(Index step, Index warmup_steps);

class Optimizer {
 public:
  explicit Optimizer(std::vector<NamedParameter> parameters) : parameters_(std::move(parameters)) {}
  virtual ~Optimizer() = default;

  // Moves every parameter that has a gradient. `gradient_scale` multiplies the gradients first:
  // with min(1, max_norm / global_norm(...)) it is clipping without a pass of its own.
  virtual void step(const Gradients& gradients, double learning_rate,
                    double gradient_scale = 1) = 0;
  // What must be saved, beside the parameters, to go on later with the same bits.
  virtual std::vector<NamedTensor> state() { return {}; }

  Index steps() const { return steps_; }
  void set_steps(Index steps) { steps_ = steps; }

 protected:
  std::vector<NamedParameter> parameters_;
  Index steps_ = 0;
};

class SGD : public Optimizer {
 public:
  using Optimizer::Optimizer;
  void step(const Gradients& gradients, double learning_rate, double gradient_scale = 1) override;
};

struct AdamOptions {
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
};

// Kingma & Ba, "Adam", ICLR 2015, with bias correction: m = b1 m + (1-b1) g,
// v = b2 v + (1-b2) g^2, p -= lr * (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + epsilon).
// Memory-bound: reads p, m, v, g and writes p, m, v once, 28 bytes per float parameter.
class Adam : public Optimizer {
 public:
  explicit Adam(std::vector<NamedParameter> parameters, AdamOptions options = {});
  void step(const Gradients& gradients, double learning_rate, double gradient_scale = 1) override;
  std::vector<NamedTensor> state() override;  // "adam.m.NAME" and "adam.v.NAME"

 private:
  AdamOptions options_;
  std::vector<Tensor> m_, v_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

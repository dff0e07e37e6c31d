// Gradient descent: one pass over each parameter, in place.
#pragma once

#include "backflow/engine/backward.h"
#include "backflow/engine/module.h"

namespace backflow::inline BACKFLOW_PRECISION {

// sqrt(sum of squares) over all the parameters' gradients.
double global_norm(const Gradients& gradients, const std::vector<NamedParameter>& parameters);

// The learning rate's factor in a linear warm-up: reaches 1 with step number `warmup_steps`;
// steps count from 1. No warm-up: 1.
double linear_warmup(Index step, Index warmup_steps);

struct NamedSteps {
  std::string name;
  Index steps;
};

class Optimizer {
 public:
  // A parameter that is given twice counts once, under its first name.
  explicit Optimizer(std::vector<NamedParameter> parameters);
  virtual ~Optimizer() = default;

  // Moves every parameter that has a gradient. `gradient_scale` multiplies the gradients first:
  // with min(1, max_norm / global_norm(...)) it is clipping without a pass of its own. Fails, and
  // moves none, if the shape of a gradient is not its parameter's.
  virtual void step(const Gradients& gradients, double learning_rate,
                    double gradient_scale = 1) = 0;
  // What must be saved, beside the parameters and the steps, to go on later with the same bits.
  virtual std::vector<NamedTensor> state() { return {}; }

  Index steps() const { return steps_; }
  // A parameter counts only the steps that moved it: those whose count is not steps(). They too
  // must be saved.
  std::vector<NamedSteps> other_steps() const;
  // `others` as other_steps() gave them. Fails, and changes nothing, for a name that is not a
  // parameter's and for counts that cannot be.
  void set_steps(Index steps, const std::vector<NamedSteps>& others = {});

 protected:
  // The gradients by parameter, undefined where there is none. Counts one step more.
  std::vector<Tensor> begin_step(const Gradients& gradients);
  Index steps_of(std::size_t parameter) const { return steps_ - missed_[parameter]; }

  std::vector<NamedParameter> parameters_;

 private:
  Index steps_ = 0;
  std::vector<Index> missed_;  // by parameter: steps for which it had no gradient
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
// v = b2 v + (1-b2) g^2, p -= lr * (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + epsilon), where t counts
// the steps of this parameter: its first one is of size lr, whenever it comes.
// Memory-bound: reads p, m, v, g and writes p, m, v once, 28 bytes per float parameter.
class Adam : public Optimizer {
 public:
  explicit Adam(std::vector<NamedParameter> parameters, AdamOptions options = {});
  void step(const Gradients& gradients, double learning_rate, double gradient_scale = 1) override;
  // "adam.m.NAME" and "adam.v.NAME". Fails if two parameters have one name; a step fails if the
  // shapes have changed.
  std::vector<NamedTensor> state() override;

 private:
  void check_state() const;
  void move(std::size_t parameter, const Tensor& gradient, double learning_rate, double scale);

  AdamOptions options_;
  std::vector<Tensor> m_, v_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

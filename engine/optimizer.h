// Gradient descent: one pass over each parameter, in place.
#pragma once

#include "backflow/engine/backward.h"
#include "backflow/engine/module.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct NamedSteps {
  std::string name;
  Index steps;
};

class Optimizer {
 public:
  // A parameter that is given twice counts once, under its first name. Each one has a tensor of
  // zeros, of its own shape, for every letter of `letters`, which state() names
  // "NAME.LETTER.PARAMETER".
  explicit Optimizer(std::vector<NamedParameter> parameters, std::string name = {},
                     const std::string& letters = {});
  virtual ~Optimizer() = default;

  // Moves every parameter that has a gradient. `gradient_scale` multiplies the gradients first:
  // with min(1, max_norm / global_norm(...)), of ops/global_norm.h, it is clipping without a pass
  // of its own. Moments below the smallest normal number become 0. Fails, and moves none, if the
  // shape of a gradient or of the state is not its parameter's.
  void step(const Gradients& gradients, double learning_rate, double gradient_scale = 1);
  // What must be saved, beside the parameters and the steps, to go on later with the same bits.
  // Fails if two parameters have one name.
  virtual std::vector<NamedTensor> state();

  Index steps() const { return steps_; }
  // A parameter counts only the steps that moved it: those whose count is not steps(). They too
  // must be saved.
  std::vector<NamedSteps> other_steps() const;
  // `others` as other_steps() gave them. Fails, and changes nothing, for a name that is not a
  // parameter's and for counts that cannot be.
  void set_steps(Index steps, const std::vector<NamedSteps>& others = {});

 protected:
  // A step of one parameter: `size` elements of it, of its gradient, and of its tensors of state.
  struct Move {
    Index size;
    Index steps;  // of this parameter, this one among them
    Real* parameter;
    const Real* gradient;
    std::vector<Real*> state;  // in the order of the letters
    double learning_rate, gradient_scale;
  };
  virtual void move(const Move& one) const = 0;

 private:
  void check_state() const;
  std::vector<Tensor> begin_step(const Gradients& gradients);
  Index steps_of(std::size_t parameter) const { return steps_ - missed_[parameter]; }

  std::vector<NamedParameter> parameters_;
  std::string name_, letters_;
  std::vector<std::vector<Tensor>> state_;  // by parameter and letter
  Index steps_ = 0;
  std::vector<Index> missed_;  // by parameter: steps for which it had no gradient
};

// v = momentum v + g, p -= lr v. Without momentum there is no state: p -= lr g.
class SGD : public Optimizer {
 public:
  static constexpr const char* name = "sgd";
  explicit SGD(std::vector<NamedParameter> parameters, double momentum = 0);

 private:
  void move(const Move& one) const override;
  double momentum_;
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
  static constexpr const char* name = "adam";
  explicit Adam(std::vector<NamedParameter> parameters, AdamOptions options = {})
      : Adam(std::move(parameters), name, options, 0) {}

 protected:
  Adam(std::vector<NamedParameter> parameters, const char* kind, AdamOptions options,
       double weight_decay)
      : Optimizer(std::move(parameters), kind, "mv"),
        options_(options),
        weight_decay_(weight_decay) {}

 private:
  void move(const Move& one) const override;
  AdamOptions options_;
  double weight_decay_;
};

// Adam whose step also takes lr * weight_decay * p from p. The decay does not pass through m and v:
// Loshchilov & Hutter, "Decoupled weight decay regularization", ICLR 2019.
class AdamW : public Adam {
 public:
  static constexpr const char* name = "adamw";
  explicit AdamW(std::vector<NamedParameter> parameters, AdamOptions options = {},
                 double weight_decay = 0.01)
      : Adam(std::move(parameters), name, options, weight_decay) {}
};

// Kingma & Ba, section 7.1, Adam with the infinity norm: m = b1 m + (1-b1) g,
// u = max(b2 u, |g| + epsilon), p -= lr * (m / (1-b1^t)) / u. The paper has no epsilon, and 0 / 0
// for a gradient that has always been 0.
class Adamax : public Optimizer {
 public:
  static constexpr const char* name = "adamax";
  explicit Adamax(std::vector<NamedParameter> parameters, AdamOptions options = {})
      : Optimizer(std::move(parameters), name, "mu"), options_(options) {}

 private:
  void move(const Move& one) const override;
  AdamOptions options_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

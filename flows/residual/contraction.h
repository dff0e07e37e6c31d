// Activations whose slope is at most 1 everywhere, for networks that may not stretch
// (lipschitz_net.h).
//
// Each gives its value and its slope at once, as two outputs of one op. The rule of that op knows
// the second derivative: so whatever is computed from slopes, such as a log-determinant, has its
// gradient after one backward(), though that is a derivative of a derivative. This is why ReLU is
// not here: its second derivative is 0, and how a network's slopes depend on its weights would
// never be learned.
#pragma once

#include "backflow/engine/module.h"

namespace backflow::inline BACKFLOW_PRECISION {

class Contraction : public Module {
 public:
  enum class Kind {
    lipswish,  // a sigmoid(b a) / 1.1, b = softplus(beta) > 0 is learned; Chen et al. 2019
    elu,       // a for a > 0, else e^a - 1
    tanh,
    sin,
  };
  explicit Contraction(Kind kind);

  // {phi(a), phi'(a)}, elementwise.
  std::array<Var, 2> operator()(const Var& a) const;

 private:
  Kind kind_;
  Parameter* beta_ = nullptr;  // (1), that of LipSwish; it begins at 0.5
};

}  // namespace backflow::inline BACKFLOW_PRECISION

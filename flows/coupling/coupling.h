// Coupling (Dinh, Krueger & Bengio, "NICE", 2014): some coordinates stay as they are, and decide
// through any network how the others are transformed.
//
//   z1 = x1,   z2 = f(x2; net(x1)),   logdet = sum_i log f'(x2_i)
//
// Both directions take one evaluation of the network, which need not be invertible.
#pragma once

#include "backflow/flows/conditioners/mlp.h"
#include "backflow/flows/transforms/transform.h"

namespace backflow::inline BACKFLOW_PRECISION {

// On (B, D): the first `kept` coordinates stay, 1 <= kept < D; a Permute (flows/permute.h) in front
// chooses others. A single coordinate cannot be split: for D = 1 there is Autoregressive. With the
// context of `net` it is a flow of p(x | context).
//
// It begins as transform->initial() says, or at random about it.
class Coupling : public Flow {
 public:
  Coupling(Index D, Index kept, std::unique_ptr<Transform> transform, const Net& net,
           const Random& random, Start start = Start::constant);
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  Out inverse_recorded(const Var& z, Pass& pass) const override;
  Index context() const override { return net_.context(); }
  using Flow::forward, Flow::inverse;

 private:
  struct Split {
    Var kept, others;
    Var parameters;  // of the others
  };
  Split split(const Var& x, const Pass& pass) const;

  Index D_, kept_;
  std::unique_ptr<Transform> transform_;
  Mlp net_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

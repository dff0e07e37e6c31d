// A network g whose Lipschitz constant is below 1: |g(x) - g(y)| < |x - y|. So x + g(x) can be
// inverted (residual.h).
#pragma once

#include <list>

#include "backflow/flows/residual/contraction.h"
#include "backflow/flows/residual/spectral_norm.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct LipschitzOptions {
  std::vector<Index> hidden = {64, 64};  // widths of the hidden layers; none: one layer
  Contraction::Kind activation = Contraction::Kind::lipswish;
  bool activation_first = true;  // in front of the first layer too, as Residual Flow has it
  double c = 0.97;               // what each layer's spectral norm is held to, 0 < c <= 0.999
  Index context = 0;             // width of a context, added to the first layer's output; 0: none
};

// g at some x: what its derivatives there need.
struct Linearized {
  Var value;                // (B, D)
  std::vector<Var> slopes;  // of the activation in front of each layer; undefined: there is none
  std::vector<Var> weights;
};

// Fully connected layers l0, l1, ... (SpectralLinear), with the activation a1 in front of l1, ...
// and a0 in front of l0 or none, as activation_first says. The parameters are "l0.weight",
// "l0.bias", ..., with LipSwish "a1.beta", ..., with a context "context.weight" (width, C), which
// begins at 0. Layers are initialised as torch's.
class LipschitzNet : public Module {
 public:
  LipschitzNet(Index D, const LipschitzOptions& options, const Random& random);

  // g(x) of x (B, D), with a context (B, C) where the net takes one.
  Linearized at(const Var& x, const Var& context = {}) const { return at(x, context, weights()); }
  // The same for weights that are at hand: they cost as much as a few examples.
  Linearized at(const Var& x, const Var& context, const std::vector<Var>& weights) const;
  std::vector<Var> weights() const;  // normalized

  // J v for the Jacobian J of g there: the derivative of g along v, one for each example (B, D), or
  // K of them at once (K, B, D). The chain rule from the input on, as recorded ops: the result is a
  // Var like any other, and its gradient is right in x and in all parameters.
  Var jvp(const Linearized& at, const Var& v) const;

  Index dimension() const { return D_; }
  double lipschitz() const;  // below 1; no distance is stretched by more
  void prepare() const;      // computes what at() needs of the weights alone
  double prepare_flop() const;

 private:
  Index D_;
  double c_;
  std::list<SpectralLinear> layers_;
  std::vector<std::unique_ptr<Contraction>> activations_;  // one in front of each layer, or null
  Parameter* context_ = nullptr;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

// A block neural autoregressive flow: one network that is the bijection itself.
//
//   De Cao, Titov, Aziz, "Block Neural Autoregressive Flow", UAI 2019
//
// An autoregressive flow has a network that computes the parameters of an increasing function. Here
// the network is that function: its hidden units come in D blocks, one per coordinate, and block d
// is joined to its own by positive weights e^W, to the blocks before it by any weights, and to none
// behind it (flows/autoregressive/block_layer.h). With tanh between the layers,
//
//   h <- tanh(V h + b),   f = V h + b,
//
// f_d increases in x_d and depends on x_1, ..., x_d alone. So its Jacobian is triangular, and its
// diagonal a chain of products of positive matrices with the slopes of tanh, one for each d:
//
//   log t <- log(V_dd t) + log tanh',   logdet = sum_d log t_d
//
// Three forms make z of f:
//
//   plain:     z = f
//   residual:  z = x + f,                    log dz/dx = log(1 + t)
//   gated:     z = s f + (1 - s) x,          log dz/dx = log(s t + 1 - s),   s = sigmoid(gate)
//
// Tanh bounds f. In the plain form z stays within a box, to which an inverse exists inside it
// alone, and of a base distribution only the mass of the box is used: densities integrate to less
// than 1. With a residual f is onto, but its slopes are bounded from below.
#pragma once

#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

enum class BlockNafForm { plain, residual, gated };

struct BlockNafOptions {
  std::vector<Index> hidden = {50, 50};  // units per coordinate in each hidden layer; at least one
  BlockNafForm form = BlockNafForm::plain;
  Index context = 0;  // width of pass.context, which every layer adds a product of; 0: none
  int layers = 1;     // of block_naf(); a BlockNaf is one
};

// z and x are (B, D). Layer i of the network, counting each tanh as one as well, has the parameters
// "i.weight", "i.log_scale", "i.bias", and with a context "i.context"; gated has "gate".
class BlockNaf : public Flow {
 public:
  BlockNaf(Index D, const BlockNafOptions& options, const Random& random);

  Out forward(const Var& x, Pass& pass) const override;
  // Coordinate after coordinate, each of all examples at once by a safeguarded Newton method: ten
  // or twenty evaluations of its own blocks. The plain one fails for a z outside the box.
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  // By the implicit function theorem: one recorded walk per coordinate, and one more.
  Out inverse_recorded(const Var& z, Pass& pass) const override;
  Index context() const override { return context_; }
  using Flow::forward, Flow::inverse;

 private:
  struct Parameters {
    Parameter &weight, &log_scale, &bias;
    Parameter* context;
  };
  struct Layer;
  struct Values;
  void add_layer(Index in, Index out, const Random& random);
  std::vector<Layer> layers(const Shape& x, const Pass& pass) const;
  static Values through(const std::vector<Layer>& layers, const Var& x);
  std::array<Var, 2> with_residual(const Var& x, const Values& net) const;
  Tensor inverse_of(const Tensor& z, const std::vector<Layer>& own, Index d) const;

  Index D_, context_;
  BlockNafForm form_;
  std::vector<Parameters> parameters_;
  Parameter* gate_ = nullptr;
};

// Several of them, between which the coordinates are reversed. An ActNorm stands before each, and
// behind the last.
std::unique_ptr<Flow> block_naf(Index D, const BlockNafOptions& options, const Random& random);

}  // namespace backflow::inline BACKFLOW_PRECISION

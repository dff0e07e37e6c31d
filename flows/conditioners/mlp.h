// A multilayer perceptron: fully connected layers with an activation between them. It approximates
// any continuous function, and is what most flows compute their parameters with.
#pragma once

#include <list>

#include "backflow/flows/conditioners/fully_connected.h"
#include "backflow/ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {

// What a network looks like inside. `Mlp(784, 10, {.hidden = {128}}, random)` has one hidden layer.
struct Net {
  std::vector<Index> hidden = {64, 64};  // widths of the hidden layers; none: an affine map
  Var (*activation)(const Var&) = relu;  // behind each hidden layer; tanh, softplus, ...
  Initializer initial = torch_default;   // of every layer
};

// (B, in) -> (B, out). The parameters have the names of the same network in torch, an
// nn.Sequential(Linear, ReLU, Linear, ...) that counts activations as well: "0.weight", "0.bias",
// "2.weight", "2.bias", ... Layer i begins with the numbers of random.stream(i).
class Mlp : public Module {
 public:
  Mlp(Index in, Index out, const Net& net, const Random& random);
  Var operator()(const Var& x) const;  // fails unless x is (B, in)

 private:
  std::list<FullyConnected> layers_;
  Var (*activation_)(const Var&);
};

}  // namespace backflow::inline BACKFLOW_PRECISION

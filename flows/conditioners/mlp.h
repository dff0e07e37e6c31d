// A multilayer perceptron: fully connected layers with an activation between them. It approximates
// any continuous function, and is what most flows compute their parameters with.
#pragma once

#include <list>

#include "backflow/flows/conditioners/fully_connected.h"
#include "backflow/flows/flow.h"
#include "backflow/ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {

// What a network looks like inside. `Mlp(784, 10, {.hidden = {128}}, random)` has one hidden layer.
struct Net {
  std::vector<Index> hidden = {64, 64};  // widths of the hidden layers; none: an affine map
  Var (*activation)(const Var&) = relu;  // behind each hidden layer, of each number alone
  Initializer initial = torch_default;   // of every layer
  Index context = 0;                     // numbers per example in pass.context; 0: it takes none
};

// What a network computes before anything has been learned. Most flows begin as the identity:
// their networks begin as the constant that makes the transform so, the last layer's weights as 0.
// Where the gradient of those weights would be 0 by symmetry they begin at random instead.
enum class Start { constant, random };

// (B, in) -> (B, out). The parameters have the names of the same network in torch, an
// nn.Sequential(Linear, ReLU, Linear, ...) that counts activations as well: "0.weight", "0.bias",
// "2.weight", "2.bias", ... Layer i begins with the numbers of random.stream(i).
//
// With a context c (B, C), of width net.context, the first hidden layer and the output see it too:
//
//   h1 = phi(W1 x + b1) + V c,   y = W h + b + U c
//
// V, "context_hidden", begins like a layer's weight, U, "context_output", as 0. Without hidden
// layers there is U alone.
class Mlp : public Module {
 public:
  Mlp(Index in, Index out, const Net& net, const Random& random);

  // These fail unless x is (B, in), and pass.context is what the network was built for.
  Var operator()(const Var& x) const { return (*this)(x, Pass()); }
  Var operator()(const Var& x, const Pass& pass) const;

  Index context() const { return context_; }
  // The output becomes `bias` (out), whatever x is, or varies about it if the start is random.
  void start_at(const Tensor& bias, Start start = Start::constant);

 protected:
  // Weights are multiplied by masks of their shapes, one per layer; none, or an undefined one: all
  // ones.
  Mlp(Index in, Index out, const Net& net, const Random& random, std::vector<Tensor> masks);

  std::list<FullyConnected> layers_;
  std::vector<Tensor> masks_;
  Var (*activation_)(const Var&);
  Index context_;
  Parameter* context_hidden_ = nullptr;  // V
  Parameter* context_output_ = nullptr;  // U
};

}  // namespace backflow::inline BACKFLOW_PRECISION

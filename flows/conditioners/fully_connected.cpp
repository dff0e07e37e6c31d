#include "backflow/flows/conditioners/fully_connected.h"

#include "backflow/ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {

FullyConnected::FullyConnected(Tensor weight, Tensor bias)
    : weight_(add_parameter("weight", std::move(weight))),
      bias_(add_parameter("bias", std::move(bias))) {
  if (weight_.shape().rank() != 2 || !(bias_.shape() == Shape{weight_.shape()[0]}))
    fail("fully_connected", "a weight (out, in) and a bias (out) expected, the shapes are ",
         weight_.shape(), " and ", bias_.shape());
}

static std::array<Tensor, 2> initial_values(Index in, Index out, const Initializer& initial,
                                            const Random& random) {
  if (in < 1 || out < 1)
    fail("fully_connected", "at least one input and one output expected, got ", in, " and ", out);
  if (!initial) fail("fully_connected", "the initializer is empty, expected one such as he_normal");
  const Shape weight{out, in};
  std::array<Tensor, 2> values = initial(weight, random);
  if (!values[0].defined() || !(values[0].shape() == weight))
    fail("fully_connected", "the initializer gave a weight of shape ", values[0].shape(),
         ", expected ", weight);
  return values;
}

FullyConnected::FullyConnected(std::array<Tensor, 2> initial)
    : FullyConnected(std::move(initial[0]), std::move(initial[1])) {}

FullyConnected::FullyConnected(Index in, Index out, const Initializer& initial,
                               const Random& random)
    : FullyConnected(initial_values(in, out, initial, random)) {}

void FullyConnected::check_batch(const Shape& x) const {
  if (x.rank() != 2 || x[1] != in())
    fail("fully_connected", "a batch (B, ", in(), ") expected, the input's shape is ", x);
}

Var FullyConnected::operator()(const Var& x) const {
  check_batch(x.shape());
  return fully_connected(x, weight_, bias_);
}

Var FullyConnected::operator()(const Var& x, const Tensor& mask) const {
  check_batch(x.shape());
  return fully_connected(x, weight_ * Var(mask), bias_);
}

Var FullyConnected::operator()(const Var& x, const Staircase& staircase,
                               const KeptWeights& masked) const {
  check_batch(x.shape());
  return fully_connected(x, weight_, bias_, staircase, masked);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

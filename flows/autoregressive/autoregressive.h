// Autoregressive flows: each coordinate is transformed as those before it decide, through one
// network (flows/conditioners/made.h) that gives the parameters of all of them at once.
//
//   z_i = f(x_i; p_i),   p_i depends on the coordinates before x_i,   logdet = sum_i log f'(x_i)
//
// x -> z is one evaluation of the network. z -> x goes coordinate after coordinate, since p_i needs
// the x before it.
#pragma once

#include "backflow/flows/conditioners/made.h"
#include "backflow/flows/transforms/transform.h"

namespace backflow::inline BACKFLOW_PRECISION {

// On (B, D), D = order.size() >= 1. order[t] is the coordinate at place t, so order[0] depends on
// no other; the numbers 0, 1, ... in order, or descending, which is what every second layer of a
// flow should have. With the context of `net` it is a flow of p(x | context), for D = 1 too.
//
// It begins as transform->initial() says, or at random about it. All coordinates share what the
// transform owns, so that must not depend on their number.
//
// inverse() computes each unit of the network once. inverse_recorded() evaluates the network D
// times, and so does its gradient.
class Autoregressive : public Flow {
 public:
  Autoregressive(const std::vector<Index>& order, std::unique_ptr<Transform> transform,
                 const Net& net, const Random& random, Start start = Start::constant,
                 const std::vector<Index>& hidden_degrees = {});
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  Out inverse_recorded(const Var& z, Pass& pass) const override;
  Index context() const override { return made_.context(); }
  using Flow::forward, Flow::inverse;

 private:
  std::unique_ptr<Transform> transform_;
  Made made_;
};

std::vector<Index> ascending(Index D);   // 0, 1, ..., D - 1
std::vector<Index> descending(Index D);  // D - 1, ..., 1, 0

}  // namespace backflow::inline BACKFLOW_PRECISION

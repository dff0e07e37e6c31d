// A sum and its gradient: x^2 e^-x at 1, 2 and 3, with the derivative x (2 - x) e^-x.
#include <cstdio>

#include "backflow/engine/backward.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"

int main() {
  using namespace backflow;
  const Var x = Var::leaf(Tensor({3}, {1, 2, 3}));
  const Var loss = sum(square(x) * exp(-x));
  const Tensor g = backward(loss)[x];
  std::printf("%zu bytes: %.5f, gradient %.5f %.5f %.5f\n", sizeof(Real), loss.item(), g[0], g[1],
              g[2]);
}

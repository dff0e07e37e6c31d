// Rounding whose gradient is overridden: it passes straight through.
#include <cmath>
#include <cstdio>

#include "backflow/engine/backward.h"
#include "backflow/engine/record.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "engine/tensor.h"

int main() {
  using backflow::Var;
  Tensor mine;
  backflow::Tensor start = backflow::Tensor::zeros({3}), rounded = start;
  for (int i = 0; i < 3; ++i) {
    start.mutable_data()[i] = static_cast<backflow::Real>(mine.values[i]);
    rounded.mutable_data()[i] = std::nearbyint(start[i]);
  }
  const Var x = Var::leaf(start);
  const Var y = backflow::override_gradient("round", rounded, {x},
                                            [](const backflow::Tensor& g) { return g; });
  const backflow::Tensor g = backflow::backward(sum(y * y))[x];
  std::printf("rounded %g %g %g, gradient %g %g %g\n", y.value()[0], y.value()[1], y.value()[2],
              g[0], g[1], g[2]);
}

// The exact log-density of small images under a convolution and a spline, with its gradient; and
// for which instructions the library that computes them was built.
#include <cmath>
#include <cstdio>

#include "backflow/engine/backward.h"
#include "backflow/flows/density.h"
#include "backflow/flows/elementwise/spline.h"
#include "backflow/flows/linear/linear.h"
#include "backflow/flows/sequential.h"
#include "backflow/ops/instructions.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"

int main() {
  using namespace backflow;
  const Index channels = 3, side = 9, bins = 5;
  Tensor kernel = Random(1).normal({channels, channels, 3, 3}) * Tensor(Real(0.05));
  for (Index c = 0; c < channels; ++c) kernel.mutable_data()[(c * channels + c) * 9 + 4] += 1;
  std::vector<std::unique_ptr<Flow>> layers;
  layers.push_back(std::make_unique<Exact>(kernel, Tensor::zeros({channels})));
  layers.push_back(std::make_unique<SplineActivation>(
      Random(2).normal({bins}), Random(3).normal({bins}), Random(4).normal({bins - 1})));
  const Sequential flow(std::move(layers));
  const Density density(flow, {channels, side, side});

  const Var x = Var::leaf(Random(5).normal({16, channels, side, side}));
  Pass pass;
  const Var log_prob = mean(density.objective(x, pass));
  const Tensor g = backward(log_prob)[x];
  double squares = 0;
  for (const Real one : g.values()) squares += static_cast<double>(one) * static_cast<double>(one);
  std::printf("%.1f nats, gradient %.2f, %s\n", static_cast<double>(log_prob.item()),
              std::sqrt(squares), vector_instructions());
}

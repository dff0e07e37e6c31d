#include "flows/density.h"

#include <cmath>
#include <numbers>

#include "ops/pointwise.h"
#include "ops/reduce.h"

namespace backflow::inline BACKFLOW_PRECISION {

Tensor Latents::draw(const Shape& shape) {
  return random.at_epoch(drawn++).normal(shape) * temperature;
}

Var StandardNormal::log_prob(const Var& z) const {
  const double D = static_cast<double>(z.size()) / std::max<Index>(1, z.size(0));
  return -0.5 * sum_examples(square(z)) - 0.5 * D * std::log(2 * std::numbers::pi);
}

Tensor Density::log_prob(const Tensor& x, Pass pass) const {
  const NoGrad no_grad;
  pass.mode = Mode::exact;
  return objective(x, pass).value();
}

Var Density::objective(const Var& x, Pass& pass) const {
  const bool begins = pass.mode == Mode::train && !pass.step_begun;
  if (begins) flow_.begin_step(x.value(), pass);
  pass.step_begun |= begins;
  const Out out = flow_.forward(x, pass);
  pass.step_begun &= !begins;  // the pass may serve another step
  return base_.log_prob(out.z) + out.logdet;
}

Tensor Density::sample(Index n, const Random& random, double temperature, Pass pass) const {
  Shape shape{n};
  for (Index size : latent_) shape.push_back(size);
  pass.latents = Latents{random, temperature};
  return flow_.inverse(pass.latents->draw(shape), pass);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

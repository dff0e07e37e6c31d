// Base distributions: what the latents z of a flow are held to be drawn from.
#pragma once

#include "backflow/engine/module.h"
#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {

// A distribution of z, one example per row of axis 0. It may have parameters of its own, which are
// trained and saved with those of the flow in front of it (Density::parameters()).
class Base : public Module {
 public:
  virtual Var log_prob(const Var& z) const = 0;  // (B), nats
  // z of this shape, (B, ...). A temperature below 1 draws nearer to the middle: the distances from
  // it are multiplied.
  virtual Tensor sample(const Shape& z, const Random& random, double temperature = 1) const = 0;
};

// N(0, I): log p(z) = -1/2 |z|^2 - D/2 log(2 pi), per example.
class StandardNormal : public Base {
 public:
  Var log_prob(const Var& z) const override;
  Tensor sample(const Shape& z, const Random& random, double temperature = 1) const override;
};

// Independent logistic distributions: log p(z) = sum_i log sigmoid(z_i) + log sigmoid(-z_i), the
// prior of NICE. Their tails are heavier than the normal's, and their variance is pi^2 / 3.
class StandardLogistic : public Base {
 public:
  Var log_prob(const Var& z) const override;
  Tensor sample(const Shape& z, const Random& random, double temperature = 1) const override;
};

const StandardNormal& standard_normal();  // lives for the whole program
const StandardLogistic& standard_logistic();

}  // namespace backflow::inline BACKFLOW_PRECISION

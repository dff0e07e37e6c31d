// Base distributions of discrete values: of whole numbers, or of multiples of a step.
#pragma once

#include "backflow/flows/bases.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The values, and where all means and scales begin.
struct DiscretizedOptions {
  double step = 1;  // between neighbouring values
  double mean = 0, scale = 1;
};

// Independent logistic distributions, each rounded to the nearest multiple of the step:
//
//   P(z) = sigmoid(a) - sigmoid(b),   a, b = (z +- step / 2 - mean) / scale
//
// It is computed as log P = log sigmoid(a) + log sigmoid(-b) + log(1 - e^(-step / scale)), which is
// the same, and right to rounding however far out z is. Of z between the multiples it is the
// probability of an interval of one step about z.
//
// Parameters: "mean" and "log_scale", of the shape of one example's z.
class DiscretizedLogistic : public Base {
 public:
  explicit DiscretizedLogistic(const Shape& latent, const DiscretizedOptions& options = {});
  Var log_prob(const Var& z) const override;
  // Multiples of the step. The temperature multiplies the distance from the mean before rounding.
  Tensor sample(const Shape& z, const Random& random, double temperature = 1) const override;

 private:
  double step_;
  Parameter &mean_, &log_scale_;
};

// A mixture of K of them for each number of z: log P = log sum_k softmax(logits)_k P_k(z).
//
// Parameters: "logits", "mean" and "log_scale", of the shape of one example's z and an axis K. The
// means begin side by side, two scales apart, with the given mean in the middle.
class DiscretizedLogisticMixture : public Base {
 public:
  DiscretizedLogisticMixture(const Shape& latent, Index K, const DiscretizedOptions& options = {});
  Var log_prob(const Var& z) const override;
  Tensor sample(const Shape& z, const Random& random, double temperature = 1) const override;

 private:
  double step_;
  Parameter &logits_, &mean_, &log_scale_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

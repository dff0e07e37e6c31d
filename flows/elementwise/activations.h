// Pointwise invertible activations: z_i = s(x_i) with s' > 0, logdet = sum_i log s'(x_i).
#pragma once

#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

class Identity : public Flow {
 public:
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;
};

// s(x) = x for x >= 0, slope * x below.
class LeakyReLU : public Flow {
 public:
  explicit LeakyReLU(double slope = 0.01);  // fails unless 0 < slope < infinity
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;

 private:
  double slope_;
};

// A leaky ReLU whose slope sigmoid(alpha_logit) + 0.5, between 0.5 and 1.5, is learned.
class LearnableLeakyReLU : public Flow {
 public:
  LearnableLeakyReLU();
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;

 private:
  Var slope() const;
  Parameter& alpha_logit_;
};

// s(x) = alpha x + (1 - alpha) log(1 + e^x) (Gresele et al., NeurIPS 2020); s' is in (alpha, 1).
class SmoothLeakyReLU : public Flow {
 public:
  explicit SmoothLeakyReLU(double alpha = 0.3);  // fails unless 0 < alpha <= 1
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;

 private:
  double alpha_;
};

// s(x) = tanh(alpha x) + beta x; s' is in (beta, alpha + beta].
class SmoothTanh : public Flow {
 public:
  explicit SmoothTanh(double alpha = 1,
                      double beta = 0.1);  // fails unless both are positive and finite
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;

 private:
  double alpha_, beta_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

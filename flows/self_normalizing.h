// The layer of Keller et al., "Self Normalizing Flows", ICML 2021.
//
// It averages two models of the same data that share z: f with weights W, and g^-1 with weights
// R ~ W^-1. Wherever one model's gradient needs an inverse, the other's weights stand in:
//
//   term of the likelihood     its exact gradient       the override
//   log|det W|                 W^-T                     R^T
//   -log|det R|                -R^-T                    -W^T
//   log p_Z(R^-1 x)            -(R^-T d_z)(R^-1 x)^T    -(W^T d_z) z^T
//
// with d_z = d log p_Z / dz. A reconstruction loss keeps R near W^-1.
#pragma once

#include "flows/linear.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct ReconstructionOptions {
  double weight = 1;       // lambda
  bool symmetric = false;  // the mean of |x - R W x|^2 and |z - W R z|^2
  bool only_R = false;     // W gets no gradient from it
};

// In train mode the log-determinant is the constant 0 with a gradient, no matrix is factorised,
// and the reconstruction loss (sum of squares per example, mean over the batch; x and the bias
// stay out of it) joins the pass's losses. In exact mode it is the layer z = W x + b.
class SelfNormalizing : public Linear {
 public:
  SelfNormalizing(Tensor W, Tensor R, Tensor b, ReconstructionOptions options = {});
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;  // R (z - b), or W^-1 (z - b)
  using Flow::forward, Flow::inverse;

 private:
  Parameter& R_;
  ReconstructionOptions options_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

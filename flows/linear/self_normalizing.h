// The layer of Keller et al., "Self Normalizing Flows", ICML 2021.
//
// It averages two models of the same data x that share z: f with weights W, and g^-1 with weights
// R ~ W^-1. Wherever one model's gradient needs an inverse, the other's weights stand in:
//
//   term of the likelihood     its exact gradient       the override
//   log|det W|                 W^-T                     R^T
//   -log|det R|                -R^-T                    -W^T
//   log p_Z(R^-1 x)            -(R^-T d_z)(R^-1 x)^T    -(W^T d_z) z^T
//
// with d_z = d log p_Z / dz, the gradient of the log-likelihood of z. A reconstruction loss,
// weighted by lambda, keeps R near W^-1. For a convolution R^T is the flipped kernel, each tap
// counted as often as it meets the image.
#pragma once

#include "backflow/flows/linear/linear.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct ReconstructionOptions {
  double weight = 1;       // lambda
  bool symmetric = false;  // the loss is the mean of |x - R W x|^2 and |z - W R z|^2
  bool only_R = false;     // W gets no gradient from the loss
  // GECO (Rezende & Viola, "Taming VAEs", 2018): after each step lambda grows by the factor
  // exp(geco_rate C), C a moving average of the layer's reconstruction loss. 0: lambda stays.
  double geco_rate = 0, geco_decay = 0.9;
};

// In train mode the log-determinant is the constant 0 with a gradient, no matrix is factorised,
// and the reconstruction loss (sum of squares per example, mean over the batch; x and the bias
// stay out of it) joins the pass's losses. In exact mode it is the layer z = T(W) x + b.
class SelfNormalizing : public Linear {
 public:
  SelfNormalizing(Tensor W, Tensor R, Tensor b, ReconstructionOptions options = {});
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;  // T(R) (z - b), or T(W)^-1 (z - b)
  bool exact_in_training() const override { return false; }
  bool has_learned_inverse() const override { return true; }
  using Flow::forward, Flow::inverse;

 private:
  // lambda and the moving average of the loss (-1: none yet), which GECO moves after each step.
  struct Geco {
    Tensor &weight, &average;
    double rate, decay;
    void adapt(double loss);
  };
  AuxiliaryLoss reconstruction_loss(const Var& loss) const;

  Parameter& R_;
  ReconstructionOptions options_;
  // Null: lambda stays. A Pass may outlive the layer, so it holds a weak pointer to this.
  std::shared_ptr<Geco> geco_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

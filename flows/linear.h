// Square linear layers z = W x + b on flattened examples, (B, ...) -> (B, D) both ways, and what
// they share: parameters, the exact log-determinant and the exact inverse, through one
// factorization of W that is kept until W changes. They differ in where the gradient of log|det W|,
// which is W^-T, comes from:
//
//   Exact              from the factorization: O(D^3) a step
//   SelfNormalizing    R^T, the transpose of a learned inverse: O(B D^2) a step
//   RelativeGradient   multiplied by W^T W it is W: O(B D^2) a step
#pragma once

#include "flows/flow.h"
#include "ops/linalg.h"

namespace backflow::inline BACKFLOW_PRECISION {

class Linear : public Flow {
 public:
  Linear(Tensor W, Tensor b);  // (D, D) and (D); fails for other shapes
  Tensor inverse(const Tensor& z, Pass& pass) const override;  // W^-1 (z - b)
  using Flow::forward, Flow::inverse;

 protected:
  Out exact_forward(const Var& x) const;
  Var flattened(const Var& x) const;  // (B, ...) -> (B, D)
  const LU& factorized() const;

  Parameter &W_, &b_;

 private:
  mutable std::optional<LU> lu_;
  mutable std::uint64_t lu_version_ = 0;
};

// The whole gradient, d_z x^T + W^-T, in every mode.
class Exact : public Linear {
 public:
  Exact(Tensor W, Tensor b) : Linear(std::move(W), std::move(b)) { ignore_name("weight_inv"); }
  Out forward(const Var& x, Pass& pass) const override;
  using Flow::forward;
};

// The natural (relative) gradient of Gresele et al., "Relative gradient optimization of the
// Jacobian term in unsupervised deep learning", NeurIPS 2020: in train mode the gradient of W is
// multiplied by W^T W, and the log-determinant is the constant 0 with a gradient.
class RelativeGradient : public Linear {
 public:
  using Linear::Linear;
  Out forward(const Var& x, Pass& pass) const override;
  using Flow::forward;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

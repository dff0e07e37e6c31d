// Square linear layers z = T(W) x + b, fully connected or convolutional by the shape of W (see
// linear_map.h), and what they share: parameters, the exact log-determinant and the exact inverse,
// through one factorization that is kept until W changes. They differ in where the gradient of
// log|det T(W)|, which is T(W)^-T, comes from:
//
//   Exact              from the factorization
//   SelfNormalizing    from a learned inverse: for a matrix R^T, O(B D^2) a step
//   RelativeGradient   of a matrix, multiplied by W^T W it is W: O(B D^2) a step
#pragma once

#include <mutex>

#include "backflow/flows/flow.h"
#include "backflow/flows/linear/linear_map.h"

namespace backflow::inline BACKFLOW_PRECISION {

class Linear : public Flow {
 public:
  // W (D, D) and b (D), or W (C, C, K, L) and b (C); fails for other shapes.
  Linear(Tensor W, Tensor b);
  Tensor inverse(const Tensor& z, Pass& pass) const override;  // T(W)^-1 (z - b)
  void prepare(Mode mode, bool gradients) const override;
  using Flow::forward, Flow::inverse;

 protected:
  // Whether a walk in this mode needs the factorization.
  virtual bool factorizes(Mode mode) const { return mode == Mode::exact; }
  Out exact_forward(const Var& x) const;
  Var examples(const Var& x) const { return map_.examples(x, W_.shape()); }
  Var bias() const;
  // Of the present W. Handed out by value: another thread may ask for images of another size.
  std::shared_ptr<const Factorization> factorized(const Shape& example) const;

  Parameter &W_, &b_;
  const LinearMap& map_;

 private:
  std::shared_ptr<const Factorization> factorized_locked(const Shape& example) const;

  mutable std::mutex cache_;  // guards the three below
  mutable std::shared_ptr<const Factorization> factorization_;
  mutable std::uint64_t version_ = 0;  // of W, when it was factorised for
  mutable Shape example_;              // batches of this shape
};

// The whole gradient, d_z x^T + T(W)^-T, in every mode.
class Exact : public Linear {
 public:
  Exact(Tensor W, Tensor b) : Linear(std::move(W), std::move(b)) { ignore_name("weight_inv"); }
  Out forward(const Var& x, Pass& pass) const override;
  using Flow::forward;

 private:
  bool factorizes(Mode) const override { return true; }
};

// The natural (relative) gradient of Gresele et al., "Relative gradient optimization of the
// Jacobian term in unsupervised deep learning", NeurIPS 2020: in train mode the gradient of W is
// multiplied by W^T W, and the log-determinant is the constant 0 with a gradient.
class RelativeGradient : public Linear {
 public:
  RelativeGradient(Tensor W, Tensor b);  // fully connected only
  Out forward(const Var& x, Pass& pass) const override;
  bool exact_in_training() const override { return false; }
  using Flow::forward;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

// Square linear layers z = T(W) x + b, fully connected or convolutional by the shape of W (see
// linear_map.h for T), and what they share: parameters, the exact log-determinant and the exact
// inverse. They differ in where, in train mode, the gradient of log|det T(W)|, which is T(W)^-T,
// comes from:
//
//   Exact              from a factorization of T(W)
//   SelfNormalizing    from a learned inverse: for a matrix R^T, O(B D^2) a step
//   RelativeGradient   of a matrix, multiplied by W^T W it is W: O(B D^2) a step
//
// So the log-determinant is exact, in value and gradient, in exact mode for all of them, and for
// Exact in train mode as well. Then both come from one factorization of T(W), which a layer keeps
// until W changes:
//
//   Sequential::forward -> prepare()       all layers in parallel, since it depends on W alone
//                             |
//                             v
//   exact_forward(), -> factorized()       the one that is kept; where W has changed since, or
//   inverse()                 |            images have another size, LinearMap::factorize() anew
//                             |
//                             |-> log_abs_det()      the value of the log-determinant
//                             |-> logdet_gradient()  its gradient, computed once: in prepare() if
//                             |                      gradients are wanted, else in backward
//                             '-> solve(z - b)       the exact inverse
//
// A layer's first walk finds nothing to prepare: only x tells the size of the images.
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
  // Whether a walk forward in this mode needs the factorization.
  virtual bool factorizes(Mode mode) const { return mode == Mode::exact; }
  // The layer with its exact log-determinant, whose gradient is the exact one, too.
  Out exact_forward(const Var& x) const;
  Var reshape_examples(const Var& x) const { return map_.reshape_examples(x, W_.shape()); }
  Var bias() const;  // b in the shape that broadcasts over a batch
  // The factorization for the present W and batches of this shape. It is handed out by value:
  // another thread may ask for images of another size meanwhile.
  std::shared_ptr<const Factorization> factorized(const Shape& batch) const;

  Parameter &W_, &b_;
  const LinearMap& map_;

 private:
  std::shared_ptr<const Factorization> factorized_locked(const Shape& batch) const;

  mutable std::mutex cache_;                                    // guards the three below
  mutable std::shared_ptr<const Factorization> factorization_;  // null: none yet
  mutable std::uint64_t version_ = 0;                           // W's, when it was factorised
  mutable Shape batch_;                                         // the batch that it was made for
};

// The whole gradient, d_z x^T + T(W)^-T, in every mode.
class Exact : public Linear {
 public:
  using Linear::Linear;
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

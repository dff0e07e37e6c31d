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
// Exact in train mode as well. It depends on W and the size of the images alone, and a layer keeps
// it until one of them changes:
//
//   Sequential::forward -> prepare()     all layers in parallel, the costly ones first
//                             |
//                             v
//   exact_forward() ------> logdet()     the one that is kept for this mode; else, in exact mode,
//                             |          LinearMap::factorize(), in train mode logdet_in_real()
//                             |
//                             |-> log_abs_det()      the value
//                             '-> logdet_gradient()  computed once: in prepare() if gradients are
//                                                    wanted, else in backward
//   inverse() ----------> factorized()   that of the exact mode
//                             |
//                             '-> solve(z - b)       the exact inverse
//
// A training step is noisy anyway, and need not know the log-determinant in double; likelihoods and
// inverses are computed in it, and know nothing of what training has computed.
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
  double prepare_flop(Mode mode) const override;
  using Flow::forward, Flow::inverse;

 protected:
  // Whether a walk forward in this mode needs the factorization.
  virtual bool factorizes(Mode mode) const { return mode == Mode::exact; }
  // The layer with its exact log-determinant, whose gradient is the exact one, too.
  Out exact_forward(const Var& x, Mode mode) const;
  Var reshape_examples(const Var& x) const { return map_.reshape_examples(x, W_.shape()); }
  Var bias() const;  // b in the shape that broadcasts over a batch
  // For the present W and batches of this shape. They are handed out by value: another thread may
  // ask for images of another size meanwhile.
  std::shared_ptr<const LogDeterminant> logdet(const Shape& batch, Mode mode) const;
  std::shared_ptr<const Factorization> factorized(const Shape& batch) const;

  Parameter &W_, &b_;
  const LinearMap& map_;

 private:
  // What was computed for a version of W and a batch.
  template <class T>
  struct Kept {
    std::shared_ptr<const T> value;  // null: none yet
    std::uint64_t version = 0;
    Shape batch;
  };
  template <class T, class Compute>
  std::shared_ptr<const T> up_to_date(Kept<T>& kept, const Shape& batch, Compute compute) const;

  Shape last_batch() const;

  mutable std::mutex cache_;  // guards the three below
  mutable Shape last_batch_;  // the shape of rank 0: none yet
  mutable Kept<Factorization> exact_;
  mutable Kept<LogDeterminant> training_;
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

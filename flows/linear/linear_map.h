// How the weights w of a square linear layer act on an example: x -> T(w) x. The entries of the
// matrix T(w) are those of w, each in one place or in many.
//
//   fully connected   w (D, D) is T(w) itself; examples are flattened, (B, ...) -> (B, D)
//   convolution       w (C, C, K, L), K and L odd; zero padding, (B, C, H, W) -> (B, C, H, W). T(w)
//                     has a row and a column for each of an image's C H W values, and an entry of w
//                     stands in it once for each pixel at which its tap meets the image
//
// So a layer is written once, for both (linear.h).
#pragma once

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

// log|det T(w)| for one w and one shape of examples. Each function fails if T(w) is singular.
struct LogDeterminant {
  virtual ~LogDeterminant() = default;
  virtual double log_abs_det() const = 0;  // nats
  // Its gradient: a number for each of w, in the same order. Computed once.
  virtual std::span<const Real> logdet_gradient() const = 0;
};

// T(w), factorised in double.
struct Factorization : LogDeterminant {
  virtual Tensor solve(const Tensor& z) const = 0;  // T(w)^-1 z for a batch of examples
};

class LinearMap {
 public:
  virtual ~LinearMap() = default;

  // The one for weights of this shape. Fails when there is none. It has no state and is never
  // destroyed, so that layers and the rules of a graph may keep references to it.
  static const LinearMap& of(const Shape& w);

  virtual OpName op() const = 0;                    // what apply() is called in a graph
  virtual Index outputs(const Shape& w) const = 0;  // D or C: a bias has so many values
  // The shape in which a bias broadcasts over a batch: (D) or (C, 1, 1).
  virtual Shape bias_shape(const Shape& w) const = 0;
  // The batch x, flattened if weights of shape w want it so. Fails when they cannot act on it.
  virtual Var reshape_examples(const Var& x, const Shape& w) const = 0;

  // These take batches as reshape_examples() returns them.
  virtual Tensor apply(const Tensor& w, const Tensor& x) const = 0;             // T(w) x
  virtual Tensor apply_transposed(const Tensor& w, const Tensor& g) const = 0;  // T(w)^T g
  // Adds to gw the gradient of w, where g is the gradient of T(w) x.
  virtual void add_weight_gradient(Tensor& gw, const Tensor& g, const Tensor& x) const = 0;
  // The gradient of log|det T(w)| is, for each entry of w, the sum of T(w)^-T over the places where
  // the entry stands. This is that sum with T(r) in the place of T(w)^-1; `batch` is the shape of
  // x.
  virtual Tensor logdet_gradient_by(const Tensor& r, const Shape& batch) const = 0;
  // scale times that, with the gradient of w added where g is the gradient of T(w) x.
  virtual Tensor weight_gradient(Real scale, const Tensor& r, const Tensor& g,
                                 const Tensor& x) const = 0;

  virtual std::shared_ptr<const Factorization> factorize(const Tensor& w,
                                                         const Shape& batch) const = 0;
  // For training: at once with its gradient and in Real, or in double where Real does not do.
  virtual std::shared_ptr<const LogDeterminant> logdet_in_real(const Tensor& w,
                                                               const Shape& batch) const = 0;
  // About how long either takes, in flop: to compare layers.
  virtual double logdet_flop(const Shape& w, const Shape& batch) const = 0;
};

// T(w) x with its ordinary gradients.
Var apply(const LinearMap& map, const Var& w, const Var& x);

}  // namespace backflow::inline BACKFLOW_PRECISION

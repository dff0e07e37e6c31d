// How the weights of a square linear layer act on an example: x -> T(w) x, with a matrix T(w) whose
// entries are those of w, each used once or many times.
//
//   fully connected   w (D, D) is the matrix; examples are flattened, (B, ...) -> (B, D)
//   convolution       w (C, C, K, L), K and L odd; zero padding, (B, C, H, W) -> (B, C, H, W)
//
// Layers are written once, for both.
#pragma once

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

// T(w) for one w, factorised in double.
struct Factorization {
  virtual ~Factorization() = default;
  virtual double log_abs_det() const = 0;           // nats; fails if singular, as do the next two
  virtual Tensor gradient() const = 0;              // of it, with respect to w; computed once
  virtual Tensor solve(const Tensor& z) const = 0;  // T^-1 z for a batch of examples
};

class LinearMap {
 public:
  virtual ~LinearMap() = default;

  // The one for weights of this shape. Fails when there is none. It has no state and is never
  // destroyed, so that layers and the rules of a graph may keep references to it.
  static const LinearMap& of(const Shape& w);

  virtual OpName op() const = 0;                    // what apply() is called in a graph
  virtual Index outputs(const Shape& w) const = 0;  // D or C: a bias has so many values
  // The batch in the shape that the functions below want. Fails when w cannot act on it.
  virtual Var examples(const Var& x, const Shape& w) const = 0;
  // A bias as it broadcasts over a batch.
  virtual Shape bias(const Shape& w) const = 0;

  virtual Tensor apply(const Tensor& w, const Tensor& x) const = 0;             // T(w) x
  virtual Tensor apply_transposed(const Tensor& w, const Tensor& g) const = 0;  // T(w)^T g
  // gw += the gradient with respect to w where g is that of T(w) x.
  virtual void add_weight_gradient(Tensor& gw, const Tensor& g, const Tensor& x) const = 0;
  // The gradient of log|det T(w)| is T(w)^-T, summed over the places where an entry of w stands.
  // This is that sum with T(r) in the inverse's place; `example` is the shape of a batch.
  virtual Tensor logdet_gradient_by(const Tensor& r, const Shape& example) const = 0;

  virtual std::shared_ptr<const Factorization> factorize(const Tensor& w,
                                                         const Shape& example) const = 0;
};

// T(w) x with its ordinary gradients.
Var apply(const LinearMap& map, const Var& w, const Var& x);

}  // namespace backflow::inline BACKFLOW_PRECISION

// An increasing function of one number, whose parameters a network computes.
//
// Most flows of the literature are a pairing. A *conditioner* reads some coordinates of x, and a
// context where there is one, and gives each of the others the K parameters of a *transform*:
//
//   z_i = f(x_i; p_i),   logdet = sum_i log f'(x_i; p_i)
//
// Coupling (flows/coupling/coupling.h) and Autoregressive (flows/autoregressive/autoregressive.h)
// are the two ways to say which coordinates are read.
#pragma once

#include "backflow/engine/module.h"
#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {

// A Module, since some transforms own parameters that all examples share.
class Transform : public Module {
 public:
  virtual Index parameters() const = 0;  // K, per element

  // {z, log dz/dx}, both (B, D), of x (B, D) and p (B, D, K). Fails for other shapes.
  virtual std::array<Var, 2> forward(const Var& x, const Var& p) const = 0;

  // The x of each z, to rounding. Fails where it cannot be found.
  virtual Tensor inverse(const Tensor& z, const Tensor& p) const = 0;

  // (K), that every element begins with: the identity, where one is among the transforms. Where it
  // would make several components equal they are spread apart, for equal ones have equal gradients
  // and stay equal for ever. Most transforms have no use for the random numbers.
  virtual Tensor initial(const Random& random) const = 0;
};

// Fails unless x is (B, D) and p is (B, D, K) with K = transform.parameters().
void check_parameters(const char* who, const Transform& transform, const Shape& x, const Shape& p);

// (elements K): initial() of so many elements, each with random numbers of its own.
Tensor initial_parameters(const Transform& transform, Index elements, const Random& random);

// {x, log dx/dz}: the inverse with its gradients, for any transform. They come from one step of
// Newton's method at the root, x = x0 - (f(x0; p) - z) / f'(x0; p), recorded with x0 and the slope
// below held fixed: it moves x0 by rounding errors alone, and differentiates to what the implicit
// function theorem gives.
std::array<Var, 2> invert(const Transform& transform, const Var& z, const Var& p);

}  // namespace backflow::inline BACKFLOW_PRECISION

// Planar flows: space is stretched, or pressed together, along one direction.
#pragma once

#include "backflow/flows/variational/ends.h"

namespace backflow::inline BACKFLOW_PRECISION {

// z = x + u' tanh(w.x + b) on (B, D), which moves the planes across w in the direction u'
// (Rezende & Mohamed, "Variational inference with normalizing flows", ICML 2015; Tabak & Turner,
// 2013). Seen along w it is s + w.u' tanh(s + b), which is increasing if w.u' > -1. So u' is u with
// its part along w changed to that effect:
//
//   u' = u + (w.u' - w.u) w / |w|^2  with  w.u' = softplus(w.u) - 1
//
// logdet = log(1 + w.u' tanh'(w.x + b)), and the inverse takes one root of one number.
//
// As published x is noise and z a sample: forward is how the authors draw, to train by reverse KL.
// Inverted (flows/inverted.h) makes a density of it for that; to train by likelihood, take it as it
// is. The authors compute u, w and b by a network in variational autoencoders; here they are the
// same for all examples.
//
// Fails where w is 0, or so short or long that |w|^2 is not a normal number: of no length it has no
// direction, and u' no limit.
class Planar : public Flow {
 public:
  Planar(Index D, const Random& random);  // near the identity
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  Out inverse_recorded(const Var& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;

  struct Bend {
    Var u, slope;  // u' (1, D), and 1 + w.u' (1)
  };
  Bend bend() const;

 private:
  Var along_w(const Var& x, const Pass& pass) const;  // w.x + b, (1, B)

  Parameter &w_, &b_, &u_;  // (1, D), (1), (1, D)
};

struct PlanarOptions {
  int layers = 32;
  Ends ends = Ends::diagonal;
};

// On (B, D), any D >= 1: so many of them between two scalings, which the authors do without.
std::unique_ptr<Flow> planar(Index D, const PlanarOptions& options, const Random& random);

}  // namespace backflow::inline BACKFLOW_PRECISION

// Radial flows: space is stretched, or pressed together, around a point.
#pragma once

#include "backflow/flows/variational/ends.h"

namespace backflow::inline BACKFLOW_PRECISION {

// z = x + b / (a + r) (x - x0) on (B, D), r = |x - x0| (Rezende & Mohamed, "Variational inference
// with normalizing flows", ICML 2015; Tabak & Turner, 2013). The distance r becomes
//
//   R = r (p + r) / (a + r),   p = a + b
//
// which increases for a, p > 0: it is stretched by p / a at the centre and not at all far out. So
// p = softplus(beta) takes the place of b. All is written in terms of a and p, whose sums have no
// terms of different sign. logdet = (D - 1) log(R / r) + log(dR/dr); r is the root of a quadratic.
//
// As published x is noise and z a sample: see Planar. At the centre the derivative of r is taken to
// be 0; that of z is right, and logdet, which has a peak there, gets the gradient 0.
//
// Fails where a or p is 0, or so small that its inverse overflows.
class Radial : public Flow {
 public:
  // What a > 0 is made of: the authors' |alpha|, or softplus(alpha), as Pyro has it.
  enum class Offset { absolute, softplus };

  Radial(Index D, Offset offset, const Random& random);
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  Out inverse_recorded(const Var& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;

 private:
  struct Profile {
    Var a, p;  // (1)
  };
  struct Stretch {
    Var across, along;  // R / r and dR/dr, (B, 1)
  };
  Profile profile() const;
  Var from_centre(const Var& x, const Pass& pass) const;  // x - x0
  Stretch stretch(const Var& r, const Profile& profile) const;
  Var logdet(const Stretch& stretch) const;

  Parameter &x0_, &alpha_, &beta_;  // (D), (1), (1)
  Offset offset_;
};

struct RadialOptions {
  int layers = 32;
  Ends ends = Ends::diagonal;
  Radial::Offset offset = Radial::Offset::softplus;
};

// On (B, D), any D >= 1: so many of them between two scalings, which the authors do without.
std::unique_ptr<Flow> radial(Index D, const RadialOptions& options, const Random& random);

}  // namespace backflow::inline BACKFLOW_PRECISION

// Transforms whose parameters are a shift m and a number h that makes a scale, as two of the K = 2
// numbers per element: p[0] = h, p[1] = m. Their inverses are formulas.
//
//   Additive   z = x + m                        NICE
//   Affine     z = s x + m, or (x - m) / s      Real NVP, MAF
//
// (Gate, flows/transforms/gate.h, is that of IAF.) Both begin as the identity.
#pragma once

#include "backflow/flows/transforms/transform.h"

namespace backflow::inline BACKFLOW_PRECISION {

// K = 1: p[0] = m. It stretches nothing.
class Additive : public Transform {
 public:
  Index parameters() const override { return 1; }
  std::array<Var, 2> forward(const Var& x, const Var& p) const override;
  Tensor inverse(const Tensor& z, const Tensor& p) const override;
  Tensor initial(const Random& random) const override;
};

// How a positive scale s is made of h.
enum class ScaleForm {
  exp,           // e^h. A network that is not sure of itself makes it overflow
  capped,        // e^(cap tanh(h / cap)): near 0 the same, but between e^-cap and e^cap
  learned_tanh,  // e^(scale tanh(h)) with a parameter "scale" (Real NVP's authors)
  softplus,      // log(1 + e^h) + least (nflows)
};

struct AffineOptions {
  ScaleForm scale = ScaleForm::exp;
  double cap = 2;       // of ScaleForm::capped
  double least = 1e-3;  // of ScaleForm::softplus, at least 0 and below 1
  Index elements =
      1;  // of ScaleForm::learned_tanh: one "scale" for each of D elements, or 1 for all
  bool divides =
      false;  // z = (x - m) / s in place of s x + m: with ScaleForm::exp, MAF's convention
};

class Affine : public Transform {
 public:
  explicit Affine(const AffineOptions& options = {});
  Index parameters() const override { return 2; }
  std::array<Var, 2> forward(const Var& x, const Var& p) const override;
  Tensor inverse(const Tensor& z, const Tensor& p) const override;
  Tensor initial(const Random& random) const override;

 private:
  Var with_log_scale(const Var& p) const;

  AffineOptions options_;
  Parameter* scale_ = nullptr;  // (elements)
};

}  // namespace backflow::inline BACKFLOW_PRECISION

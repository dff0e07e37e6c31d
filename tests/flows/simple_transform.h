// The simplest transforms, for tests of what transforms are put into.
#pragma once

#include "backflow/flows/transforms/transform.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

// z = x e^tanh(a) + b, with p = (a, b).
class SimpleTransform : public Transform {
 public:
  Index parameters() const override { return 2; }
  std::array<Var, 2> forward(const Var& x, const Var& p) const override {
    check_parameters("simple", *this, x.shape(), p.shape());
    const Var a = log_scale(p, x.shape());
    return {x * exp(a) + reshape(slice(p, 2, 1, 2), x.shape()), a};
  }
  Tensor inverse(const Tensor& z, const Tensor& p) const override {
    check_parameters("simple", *this, z.shape(), p.shape());
    const Tensor b = slice(p, 2, 1, 2).reshape(z.shape());
    return (z - b) * exp(-log_scale(p, z.shape())).value();
  }
  Tensor initial(const Random&) const override { return Tensor({2}, {0, 1}); }

 private:
  static Var log_scale(const Var& p, const Shape& shape) {
    return tanh(reshape(slice(p, 2, 0, 1), shape));
  }
};

}  // namespace backflow::inline BACKFLOW_PRECISION

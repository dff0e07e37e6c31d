// From pixels 0..255 to unbounded reals: dequantize, scale to (0, 1), logit. Each is a flow, so
// that a likelihood counts them.
#pragma once

#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

// z = x + u with u ~ U[0, 1) from the pass's noise; logdet = 0. Inverse: floor.
// Makes a density of discrete data (Theis et al., ICLR 2016): E_u log p(x + u) <= log P(x).
class Dequantization : public Flow {
 public:
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  const char* why_no_bijection() const override {
    return "the inverse of dequantization rounds to whole numbers, which have a probability and no "
           "density";
  }
  using Flow::forward, Flow::inverse;
};

// z = (x - translation) / scale; logdet = -D log|scale|.
class Normalization : public Flow {
 public:
  Normalization(double translation, double scale);  // finite; the scale not 0
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;

 private:
  double translation_, scale_;
};

// z = log(x / (1 - x)) for x in (0, 1); logdet = -sum log x + log(1 - x).
class Logit : public Flow {
 public:
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;
};

// z = 1 / (1 + e^-x); logdet = sum log z + log(1 - z).
class Sigmoid : public Flow {
 public:
  Out forward(const Var& x, Pass& pass) const override;
  Tensor inverse(const Tensor& z, Pass& pass) const override;
  using Flow::forward, Flow::inverse;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

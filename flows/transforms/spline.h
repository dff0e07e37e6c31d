// The monotone rational-quadratic spline (ops/spline.h) as a transform: K = 3 bins - 1 numbers per
// element, the bins' widths, their heights and the slopes between them, all unconstrained. Zeros
// are the identity, and so is the spline beyond its bound, for any numbers.
#pragma once

#include "backflow/flows/transforms/transform.h"
#include "backflow/ops/spline.h"

namespace backflow::inline BACKFLOW_PRECISION {

class RationalQuadraticSpline : public Transform {
 public:
  // Fails for options that leave no room for so many bins.
  explicit RationalQuadraticSpline(Index bins = 8, const SplineOptions& options = {.bound = 4});
  Index parameters() const override { return 3 * bins_ - 1; }
  std::array<Var, 2> forward(const Var& x, const Var& p) const override;
  Tensor inverse(const Tensor& z, const Tensor& p) const override;
  Tensor initial(const Random& random) const override;

 private:
  Index bins_;
  SplineOptions options_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

// The transform of IAF: z = s x + (1 - s) m with 0 < s < 1, from a shift m and a number h that
// makes s, as p[0] = h, p[1] = m. It begins as z = sigmoid(bias) x, and its inverse is a formula.
#pragma once

#include <limits>

#include "backflow/flows/transforms/transform.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct GateOptions {
  double bias = 2;  // so that most of x passes at first
  double cap = std::numeric_limits<double>::infinity();
};

// s = sigmoid(bias + cap tanh(h / cap)), or sigmoid(bias + h) without a cap.
class Gate : public Transform {
 public:
  explicit Gate(const GateOptions& options = {});
  Index parameters() const override { return 2; }
  std::array<Var, 2> forward(const Var& x, const Var& p) const override;
  Tensor inverse(const Tensor& z, const Tensor& p) const override;
  Tensor initial(const Random& random) const override;

 private:
  GateOptions options_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

// Does a gradient agree with the function it claims to belong to?
#pragma once

#include "engine/backward.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct GradcheckOptions {
  double tolerance = 1e-7;  // of the directional derivatives, relative to their typical size
  double step = 1e-3;       // relative to the size of x; the error of the quotient is O(step^4)
  int directions = 3;       // random directions per input
  std::uint64_t seed = 1;
};

struct GradcheckReport {
  double worst_error = 0;
  std::string failure;  // empty: all is well. Else what, where, found, expected.
  explicit operator bool() const { return failure.empty(); }
};

using Function = std::function<std::vector<Var>(const std::vector<Var>&)>;

// Compares the gradient of a random projection of f's outputs with five-point central differences
// along random directions, for each input in turn. Also checks that the gradients are finite, the
// same to the bit on 1 and 3 threads, and that no Tensor is leaked.
//
// Differences in float32 prove nothing: in the float build the comparison itself is left out.
GradcheckReport gradcheck(const Function& f, const std::vector<Tensor>& inputs,
                          const GradcheckOptions& options = {});
GradcheckReport gradcheck(const std::function<Var(const Var&)>& f, const Tensor& x,
                          const GradcheckOptions& options = {});

}  // namespace backflow::inline BACKFLOW_PRECISION

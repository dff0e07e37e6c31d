// Does a gradient agree with the function it claims to belong to?
#pragma once

#include "backflow/engine/backward.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct GradcheckOptions {
  static constexpr bool in_float = sizeof(Real) < sizeof(double);

  // How far the directional derivatives may differ, relative to their typical size. In float, where
  // f's outputs are rounded, this is never less than 0.02, and what the rounding explains comes on
  // top of it.
  double tolerance = in_float ? 0.02 : 1e-7;
  double step = in_float ? 1e-2 : 1e-3;  // relative to the size of x; the error is O(step^4)
  int directions = 3;                    // per input
  std::uint64_t seed = 1;
};

struct GradcheckReport {
  double worst_error = 0;
  std::string failure;  // empty: all is well. Else what, where, found, expected.
  explicit operator bool() const { return failure.empty(); }
};

using VarFunction = std::function<std::vector<Var>(const std::vector<Var>&)>;

// Compares the gradient of a random projection of f's outputs with five-point central differences,
// for each input in turn: along the claimed gradient's own direction, each element by a random
// amount, so that its terms add up and rounding cannot hide a mistake; then along random
// directions. Also checks that the gradients are finite, the same to the bit on 1 and 3 threads,
// and that no Tensor is leaked. A check that had nothing to compare fails.
//
// Choose inputs away from kinks of f: an element of x moves by up to two steps of max(|x|, 0.1),
// times a normal number. Differences of floats are coarse: in the float build a gradient that is
// wrong by 5% or in its sign is found, and one that is wrong by 1% is not.
GradcheckReport gradcheck(const VarFunction& f, const std::vector<Tensor>& inputs,
                          const GradcheckOptions& options = {});
GradcheckReport gradcheck(const std::function<Var(const Var&)>& f, const Tensor& x,
                          const GradcheckOptions& options = {});

}  // namespace backflow::inline BACKFLOW_PRECISION

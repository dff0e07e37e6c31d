// Residual blocks at random parameters, for tests.
#pragma once

#include "backflow/flows/residual/residual.h"
#include "backflow/ops/pointwise.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Numbers of `size` times N(0, 1): by 1 most weights have spectral norms above c, by 0.1 below.
inline void randomize(Module& module, std::uint64_t seed, double size = 1) {
  std::uint32_t k = 0;
  for (const auto& [name, parameter] : module.parameters())
    parameter->set(Random(seed)
                       .stream(k++)
                       .normal({1, parameter->value().size()})
                       .reshape(parameter->shape()) *
                   static_cast<Real>(size));
}

inline std::unique_ptr<Residual> random_block(Index D, const ResidualOptions& options,
                                              std::uint64_t seed = 1, double size = 1) {
  auto block = std::make_unique<Residual>(D, options, Random(seed));
  randomize(*block, seed, size);
  return block;
}

inline Pass training(std::uint64_t seed = 5) {
  Pass pass;
  pass.mode = Mode::train;
  pass.noise = Random(seed);
  return pass;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

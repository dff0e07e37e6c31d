// The pairing of real_nvp.cpp with another transform:
//
//   z1 = x1,   z2 = spline(x2; net(x1))
#include "backflow/flows/coupling/neural_spline.h"

#include "backflow/flows/coupling/coupling.h"
#include "backflow/flows/stack.h"
#include "backflow/flows/transforms/spline.h"

namespace backflow::inline BACKFLOW_PRECISION {

std::unique_ptr<Flow> neural_spline_coupling(Index D, const NeuralSplineOptions& options,
                                             const Random& random) {
  return stack_couplings(
      "neural_spline_coupling", D, options.layers, [&](std::uint32_t i, Index kept) {
        return std::make_unique<Coupling>(
            D, kept, std::make_unique<RationalQuadraticSpline>(options.bins, options.spline),
            options.net, random.stream(i));
      });
}

}  // namespace backflow::inline BACKFLOW_PRECISION

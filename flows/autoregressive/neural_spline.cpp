// The pairing of maf.cpp with another transform:
//
//   z_i = spline(x_i; MADE(x_1, ..., x_i-1))
#include "backflow/flows/autoregressive/neural_spline.h"

#include "backflow/flows/autoregressive/autoregressive.h"
#include "backflow/flows/stack.h"
#include "backflow/flows/transforms/spline.h"

namespace backflow::inline BACKFLOW_PRECISION {

std::unique_ptr<Flow> neural_spline_autoregressive(Index D, const NeuralSplineOptions& options,
                                                   const Random& random) {
  return stack("neural_spline_autoregressive", D, options.layers, [&](std::uint32_t i) {
    return std::make_unique<Autoregressive>(
        i % 2 == 0 ? ascending(D) : descending(D),
        std::make_unique<RationalQuadraticSpline>(options.bins, options.spline), options.net,
        random.stream(i));
  });
}

}  // namespace backflow::inline BACKFLOW_PRECISION

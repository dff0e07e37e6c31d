// The pairing of maf.cpp with another transform:
//
//   z_i = spline(x_i; MADE(x_1, ..., x_i-1))
#include "backflow/flows/autoregressive/neural_spline.h"

#include "backflow/flows/autoregressive/autoregressive.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/sequential.h"
#include "backflow/flows/transforms/spline.h"

namespace backflow::inline BACKFLOW_PRECISION {

std::unique_ptr<Flow> neural_spline_autoregressive(Index D, const NeuralSplineOptions& options,
                                                   const Random& random) {
  if (options.layers < 1)
    fail("neural_spline_autoregressive", "at least one layer expected, got ", options.layers);
  std::vector<std::unique_ptr<Flow>> layers;
  for (int i = 0; i < options.layers; ++i) {
    layers.push_back(std::make_unique<ActNorm>(D));
    layers.push_back(std::make_unique<Autoregressive>(
        i % 2 == 0 ? ascending(D) : descending(D),
        std::make_unique<RationalQuadraticSpline>(options.bins, options.spline), options.net,
        random.stream(static_cast<std::uint32_t>(i))));
  }
  layers.push_back(std::make_unique<ActNorm>(D));
  return std::make_unique<Sequential>(std::move(layers));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

// The pairing of real_nvp.cpp with another transform:
//
//   z1 = x1,   z2 = spline(x2; net(x1))
#include "backflow/flows/coupling/neural_spline.h"

#include "backflow/flows/coupling/coupling.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/permute.h"
#include "backflow/flows/sequential.h"
#include "backflow/flows/transforms/spline.h"

namespace backflow::inline BACKFLOW_PRECISION {

std::unique_ptr<Flow> neural_spline_coupling(Index D, const NeuralSplineOptions& options,
                                             const Random& random) {
  if (options.layers < 1)
    fail("neural_spline_coupling", "at least one layer expected, got ", options.layers);
  std::vector<std::unique_ptr<Flow>> layers;
  for (int i = 0; i < options.layers; ++i) {
    // Of an odd number, the coordinates that a layer moves are those that the next one keeps.
    const Index kept = i % 2 == 0 ? D - D / 2 : D / 2;
    layers.push_back(std::make_unique<ActNorm>(D));
    layers.push_back(std::make_unique<Coupling>(
        D, kept, std::make_unique<RationalQuadraticSpline>(options.bins, options.spline),
        options.net, random.stream(static_cast<std::uint32_t>(i))));
    layers.push_back(reverse(D));
  }
  layers.push_back(std::make_unique<ActNorm>(D));
  return std::make_unique<Sequential>(std::move(layers));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

// The pairing of real_nvp.cpp with another transform:
//
//   z1 = x1,   z2 = e^a logit(F(x2)) + b,   (F, a, b) = net(x1)
#include "backflow/flows/coupling/flowpp.h"

#include "backflow/flows/coupling/coupling.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/image/variational_dequantization.h"
#include "backflow/flows/permute.h"
#include "backflow/flows/sequential.h"
#include "backflow/flows/transforms/logistic_mixture.h"

namespace backflow::inline BACKFLOW_PRECISION {

std::unique_ptr<Flow> flowpp(Index D, const FlowppOptions& options, const Random& random) {
  if (options.layers < 1) fail("flowpp", "at least one layer expected, got ", options.layers);
  const MixtureForm form = capped(flowpp_mixture, options.cap);
  std::vector<std::unique_ptr<Flow>> layers;
  for (int i = 0; i < options.layers; ++i) {
    // Of an odd number, the coordinates that a layer moves are those that the next one keeps.
    const Index kept = i % 2 == 0 ? D - D / 2 : D / 2;
    layers.push_back(std::make_unique<ActNorm>(D));
    layers.push_back(std::make_unique<Coupling>(
        D, kept, std::make_unique<LogisticMixture>(options.components, form), options.net,
        random.stream(static_cast<std::uint32_t>(i))));
    layers.push_back(reverse(D));
  }
  layers.push_back(std::make_unique<ActNorm>(D));
  return std::make_unique<Sequential>(std::move(layers));
}

std::unique_ptr<Flow> flowpp_dequantization(Index D, Index levels, const FlowppOptions& options,
                                            const Random& random) {
  if (options.net.context != 0)
    fail("flowpp_dequantization", "the context is the example, got one of ", options.net.context);
  FlowppOptions given_x = options;
  given_x.net.context = D;
  return std::make_unique<VariationalDequantization>(flowpp(D, given_x, random), levels);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

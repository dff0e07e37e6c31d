// The pairing of real_nvp.cpp with another transform:
//
//   z1 = x1,   z2 = e^a logit(F(x2)) + b,   (F, a, b) = net(x1)
#include "backflow/flows/coupling/flowpp.h"

#include "backflow/flows/coupling/coupling.h"
#include "backflow/flows/image/variational_dequantization.h"
#include "backflow/flows/stack.h"
#include "backflow/flows/transforms/logistic_mixture.h"

namespace backflow::inline BACKFLOW_PRECISION {

std::unique_ptr<Flow> flowpp(Index D, const FlowppOptions& options, const Random& random) {
  const MixtureForm form = capped(flowpp_mixture, options.cap);
  return stack_couplings("flowpp", D, options.layers, [&](std::uint32_t i, Index kept) {
    return std::make_unique<Coupling>(D, kept,
                                      std::make_unique<LogisticMixture>(options.components, form),
                                      options.net, random.stream(i));
  });
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

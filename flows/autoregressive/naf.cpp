// The pairing of maf.cpp with another transform:
//
//   z_i = logit(sum_k pi_k sigmoid(softplus(a_k) x_i + b_k)),   (a, b, w) = MADE(x_1, ..., x_i-1)
#include "backflow/flows/autoregressive/naf.h"

#include "backflow/flows/autoregressive/autoregressive.h"
#include "backflow/flows/stack.h"
#include "backflow/flows/transforms/logistic_mixture.h"

namespace backflow::inline BACKFLOW_PRECISION {

std::unique_ptr<Flow> naf(Index D, const NafOptions& options, const Random& random) {
  const MixtureForm form{.component = MixtureForm::sloped, .least_slope = options.least_slope};
  return stack("naf", D, options.layers, [&](std::uint32_t i) {
    return std::make_unique<Autoregressive>(
        i % 2 == 0 ? ascending(D) : descending(D),
        std::make_unique<LogisticMixture>(options.sigmoids, form), options.net, random.stream(i));
  });
}

}  // namespace backflow::inline BACKFLOW_PRECISION

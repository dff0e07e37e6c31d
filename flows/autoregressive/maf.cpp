// A flow of the literature is a pairing, repeated: here the transform is affine, and the
// conditioner a MADE, which Autoregressive brings along. Another transform makes another flow.
//
//   z_i = (x_i - mu_i) e^-alpha_i,   (mu_i, alpha_i) = MADE(x_1, ..., x_i-1)
#include "backflow/flows/autoregressive/maf.h"

#include "backflow/flows/autoregressive/autoregressive.h"
#include "backflow/flows/stack.h"

namespace backflow::inline BACKFLOW_PRECISION {

std::unique_ptr<Flow> maf(Index D, const MafOptions& options, const Random& random) {
  return stack("maf", D, options.layers, [&](std::uint32_t i) {
    return std::make_unique<Autoregressive>(i % 2 == 0 ? ascending(D) : descending(D),
                                            std::make_unique<Affine>(options.affine), options.net,
                                            random.stream(i));
  });
}

}  // namespace backflow::inline BACKFLOW_PRECISION

//   z1 = x1,   z2 = x2 e^s + t,   (s, t) = net(x1)
#include "backflow/flows/coupling/real_nvp.h"

#include "backflow/flows/coupling/coupling.h"
#include "backflow/flows/stack.h"

namespace backflow::inline BACKFLOW_PRECISION {

std::unique_ptr<Flow> real_nvp(Index D, const RealNvpOptions& options, const Random& random) {
  return stack_couplings("real_nvp", D, options.layers, [&](std::uint32_t i, Index kept) {
    return std::make_unique<Coupling>(D, kept, std::make_unique<Affine>(options.affine),
                                      options.net, random.stream(i));
  });
}

}  // namespace backflow::inline BACKFLOW_PRECISION

//   out_i = s_i x_i + (1 - s_i) m_i,   (s_i, m_i) = MADE(x_1, ..., x_i-1),   x is noise
#include "backflow/flows/autoregressive/iaf.h"

#include "backflow/flows/autoregressive/autoregressive.h"
#include "backflow/flows/stack.h"

namespace backflow::inline BACKFLOW_PRECISION {

static std::unique_ptr<Transform> transform_of(const IafOptions& options) {
  if (options.gated) return std::make_unique<Gate>(options.gate);
  return std::make_unique<Affine>(options.affine);
}

std::unique_ptr<Flow> iaf(Index D, const IafOptions& options, const Random& random) {
  return stack("iaf", D, options.layers, [&](std::uint32_t i) {
    return std::make_unique<Autoregressive>(i % 2 == 0 ? ascending(D) : descending(D),
                                            transform_of(options), options.net, random.stream(i));
  });
}

}  // namespace backflow::inline BACKFLOW_PRECISION

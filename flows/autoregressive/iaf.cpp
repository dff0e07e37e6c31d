//   out_i = s_i x_i + (1 - s_i) m_i,   (s_i, m_i) = MADE(x_1, ..., x_i-1),   x is noise
#include "backflow/flows/autoregressive/iaf.h"

#include "backflow/flows/autoregressive/autoregressive.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/sequential.h"

namespace backflow::inline BACKFLOW_PRECISION {

static std::unique_ptr<Transform> transform_of(const IafOptions& options) {
  if (options.gated) return std::make_unique<Gate>(options.gate);
  return std::make_unique<Affine>(options.affine);
}

std::unique_ptr<Flow> iaf(Index D, const IafOptions& options, const Random& random) {
  if (options.layers < 1) fail("iaf", "at least one layer expected, got ", options.layers);
  std::vector<std::unique_ptr<Flow>> layers;
  for (int i = 0; i < options.layers; ++i) {
    layers.push_back(std::make_unique<ActNorm>(D));
    layers.push_back(std::make_unique<Autoregressive>(
        i % 2 == 0 ? ascending(D) : descending(D), transform_of(options), options.net,
        random.stream(static_cast<std::uint32_t>(i))));
  }
  layers.push_back(std::make_unique<ActNorm>(D));
  return std::make_unique<Sequential>(std::move(layers));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

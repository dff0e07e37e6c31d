// A flow of the literature is a pairing, repeated: here the transform is affine, and the
// conditioner a MADE, which Autoregressive brings along. Another transform makes another flow.
//
//   z_i = (x_i - mu_i) e^-alpha_i,   (mu_i, alpha_i) = MADE(x_1, ..., x_i-1)
#include "backflow/flows/autoregressive/maf.h"

#include "backflow/flows/autoregressive/autoregressive.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/sequential.h"

namespace backflow::inline BACKFLOW_PRECISION {

std::unique_ptr<Flow> maf(Index D, const MafOptions& options, const Random& random) {
  if (options.layers < 1) fail("maf", "at least one layer expected, got ", options.layers);
  std::vector<std::unique_ptr<Flow>> layers;
  for (int i = 0; i < options.layers; ++i) {
    layers.push_back(std::make_unique<ActNorm>(D));
    layers.push_back(std::make_unique<Autoregressive>(
        i % 2 == 0 ? ascending(D) : descending(D), std::make_unique<Affine>(options.affine),
        options.net, random.stream(static_cast<std::uint32_t>(i))));
  }
  layers.push_back(std::make_unique<ActNorm>(D));
  return std::make_unique<Sequential>(std::move(layers));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

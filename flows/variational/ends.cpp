#include "backflow/flows/variational/ends.h"

#include "backflow/flows/elementwise/diagonal.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/sequential.h"

namespace backflow::inline BACKFLOW_PRECISION {

static std::unique_ptr<Flow> end(Index D, Ends ends) {
  if (ends == Ends::actnorm) return std::make_unique<ActNorm>(D);
  return std::make_unique<Diagonal>(D);
}

std::unique_ptr<Flow> between_ends(Index D, Ends ends, std::vector<std::unique_ptr<Flow>> layers) {
  layers.insert(layers.begin(), end(D, ends));
  layers.push_back(end(D, ends));
  return std::make_unique<Sequential>(std::move(layers));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/flows/linear/random_orthogonal.h"

#include "backflow/ops/linalg.h"

namespace backflow::inline BACKFLOW_PRECISION {

Tensor random_orthogonal(Index n, const Random& random) {
  return orthogonal_factor(random.normal({n, n}));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

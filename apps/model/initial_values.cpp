#include "backflow/apps/model/initial_values.h"

#include <cmath>

#include "backflow/apps/model/site.h"
#include "backflow/flows/linear/random_orthogonal.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The authors' values: a bias as wide as the entries of the identity.
static InitialValues identity(Index D, const Random& random) {
  const double spread = std::sqrt((1 - 1.0 / D) / D);
  return {Tensor::identity(D), normal(random, 0, {D}) * spread};
}

// The authors' values for the relative gradient.
static InitialValues orthogonal(Index D, const Random& random) {
  return {random_orthogonal(D, random), Tensor::zeros({D})};
}

const Table<InitRow>& initial_values() {
  static const Table<InitRow> all("init",
                                  {{"identity", "W = I and a small random bias", identity},
                                   {"orthogonal", "a random rotation and no bias", orthogonal}});
  return all;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

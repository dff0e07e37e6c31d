// Initial weights that keep lengths: a layer that begins orthogonal has |det W| = 1, and neither
// shrinks nor stretches what passes through it.
#pragma once

#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {

// A random orthogonal matrix, (n, n), uniform over the orthogonal group (Haar): the orthogonal
// factor of a normal matrix (Stewart, "The efficient generation of random orthogonal matrices",
// 1980).
Tensor random_orthogonal(Index n, const Random& random);

}  // namespace backflow::inline BACKFLOW_PRECISION

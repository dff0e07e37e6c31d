// Who looks on while many examples are evaluated, which may take minutes.
#pragma once

#include <functional>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Is called after each batch with how many examples are done, of all. It may throw: the evaluation
// ends there. Of several ranks that share out the examples, all call it equally often.
using EvaluationWatch = std::function<void(Index done, Index all)>;

}  // namespace backflow::inline BACKFLOW_PRECISION

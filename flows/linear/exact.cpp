#include "backflow/flows/linear/linear.h"

namespace backflow::inline BACKFLOW_PRECISION {

Out Exact::forward(const Var& x, Pass& pass) const { return exact_forward(x, pass.mode); }

}  // namespace backflow::inline BACKFLOW_PRECISION

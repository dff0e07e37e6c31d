#include "backflow/flows/linear/linear.h"

namespace backflow::inline BACKFLOW_PRECISION {

Out Exact::forward(const Var& x, Pass&) const { return exact_forward(x); }

}  // namespace backflow::inline BACKFLOW_PRECISION

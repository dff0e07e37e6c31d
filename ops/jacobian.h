// Every derivative of a function at once.
#pragma once

#include <functional>

#include "backflow/engine/var.h"

namespace backflow::inline BACKFLOW_PRECISION {

// dy/dx of y = f(x): element (i..., j...) is the derivative of y's element i... by x's element
// j..., so the shape is y's followed by x's.
//
//   jacobian([](const Var& x) { return square(x); }, x)   // diag(2 x)
//
// One backward() for each element of y: meant for tests and small problems. Fails if y does not
// depend on x, and for shapes of more than Shape::max_rank axes together: reshape x inside of f.
Tensor jacobian(const std::function<Var(const Var&)>& f, const Tensor& x);

}  // namespace backflow::inline BACKFLOW_PRECISION

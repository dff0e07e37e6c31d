#include "backflow/flows/flow.h"

namespace backflow::inline BACKFLOW_PRECISION {

Out Flow::inverse_recorded(const Var&, Pass&) const {
  fail("inverse_recorded", "this flow has no inverse with gradients; inverse() gives x alone");
}

Index Flow::context() const {
  Index width = 0;
  for (const Flow* flow : flows()) {
    const Index other = flow->context();
    if (width != 0 && other != 0 && other != width)
      fail("flow", "its parts take contexts of different widths, ", width, " and ", other);
    width = std::max(width, other);
  }
  return width;
}

void check_context(const char* who, Index width, const Pass& pass, Index B) {
  const Var& context = pass.context;
  if (!context.value().defined()) {
    if (width != 0) fail(who, "a context (", B, ", ", width, ") is needed, pass.context is empty");
    return;
  }
  if (width == 0)
    fail(who, "it was built without a context, but pass.context of ", context.shape(), " is given");
  if (!(context.shape() == Shape{B, width}))
    fail(who, "a context (", B, ", ", width, ") expected, pass.context is ", context.shape());
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/flows/flow.h"

#include "backflow/engine/parallel.h"

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

Tensor uniform_noise(const char* who, const Random& random, const Pass& pass, const Shape& shape) {
  if (pass.examples.empty()) return random.uniform(shape);
  if (static_cast<Index>(pass.examples.size()) != shape[0])
    fail(who, "the pass names ", pass.examples.size(), " examples, the shape is ", shape);
  Tensor noise = Tensor::empty(shape);
  const Index width = shape.size() / std::max<Index>(1, shape[0]);
  parallel_for(shape[0], std::max<Index>(1, elements_per_chunk / std::max<Index>(1, width)),
               [&, u = noise.mutable_data()](Index row, Index end) {
                 for (; row < end; ++row)
                   random.uniform(pass.examples[row],
                                  std::span(u + row * width, static_cast<std::size_t>(width)));
               });
  return noise;
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

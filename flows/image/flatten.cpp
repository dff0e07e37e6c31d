#include "backflow/flows/image/flatten.h"

#include <algorithm>

#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

Flatten::Flatten(Shape example) : example_(example) {}

Out Flatten::forward(const Var& x, Pass& pass) const {
  const Shape& shape = x.shape();
  if (shape.rank() != example_.rank() + 1 ||
      !std::equal(example_.begin(), example_.end(), shape.begin() + 1))
    fail("flatten", "examples of shape ", example_, " expected, the batch is ", shape);
  check_context("flatten", 0, pass, x.size(0));
  return {reshape(x, Shape{x.size(0), example_.size()}), Tensor::zeros({x.size(0)})};
}

Out Flatten::inverse_recorded(const Var& z, Pass& pass) const {
  if (z.rank() != 2 || z.size(1) != example_.size())
    fail("flatten", "a batch (B, ", example_.size(), ") expected, the shape is ", z.shape());
  check_context("flatten", 0, pass, z.size(0));
  Shape batch{z.size(0)};
  for (const Index size : example_) batch.push_back(size);
  return {reshape(z, batch), Tensor::zeros({z.size(0)})};
}

Tensor Flatten::inverse(const Tensor& z, Pass& pass) const {
  const NoGrad no_grad;
  return inverse_recorded(z, pass).z.value();
}

}  // namespace backflow::inline BACKFLOW_PRECISION

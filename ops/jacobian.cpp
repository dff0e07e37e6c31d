#include "backflow/ops/jacobian.h"

#include "backflow/engine/backward.h"

namespace backflow::inline BACKFLOW_PRECISION {

static Shape jacobian_shape(const Shape& y, const Shape& x) {
  if (y.rank() + x.rank() > Shape::max_rank)
    fail("jacobian", "the function's shape ", y, " and x's ", x, " have ", y.rank() + x.rank(),
         " axes together, expected at most ", Shape::max_rank, "; reshape them");
  Shape shape = y;
  for (const Index size : x) shape.push_back(size);
  return shape;
}

Tensor jacobian(const std::function<Var(const Var&)>& f, const Tensor& x) {
  if (!f) fail("jacobian", "the function is empty");
  if (!x.defined()) fail("jacobian", "x is undefined: it has no values");
  const Recording recording(true);
  const Var leaf = Var::leaf(x);
  const Var y = f(leaf);
  if (!y.requires_grad())
    fail("jacobian", "the function's value has no history, so it does not depend on x");
  Tensor all = Tensor::empty(jacobian_shape(y.shape(), x.shape()));
  Tensor seed = Tensor::zeros(y.shape());
  for (Index i = 0; i < y.size(); ++i) {
    seed.mutable_data()[i] = 1;
    const Gradients gradients = backward(y, seed, Graph::keep);
    if (!gradients.contains(leaf))
      fail("jacobian", "the function's value depends on other leaves, but not on x");
    const Tensor row = gradients[leaf];
    std::copy_n(row.data(), row.size(), all.mutable_data() + i * row.size());
    seed.mutable_data()[i] = 0;
  }
  return all;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

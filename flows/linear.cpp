#include "flows/linear.h"

#include "ops/matmul.h"
#include "ops/pointwise.h"
#include "ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

Linear::Linear(Tensor W, Tensor b)
    : W_(add_parameter("weight_fwd", std::move(W))), b_(add_parameter("bias_fwd", std::move(b))) {
  if (W_.shape().rank() != 2 || W_.shape()[0] != W_.shape()[1])
    fail("linear", "W must be a square matrix, its shape is ", W_.shape());
  if (!(b_.shape() == Shape{W_.shape()[0]}))
    fail("linear", "W is ", W_.shape(), ", so b must be (", W_.shape()[0], "), its shape is ",
         b_.shape());
}

Var Linear::flattened(const Var& x) const {
  const Index D = W_.shape()[0];
  if (x.rank() < 1 || x.size() != x.size(0) * D)
    fail("linear", "examples of ", D, " values expected, the input's shape is ", x.shape());
  return x.rank() == 2 ? x : reshape(x, {x.size(0), D});
}

const LU& Linear::factorized() const {
  if (!lu_ || lu_version_ != W_.version()) {
    lu_.emplace(W_.value());
    lu_version_ = W_.version();
  }
  return *lu_;
}

Out Linear::exact_forward(const Var& x) const {
  return {matmul(x, transposed(W_)) + b_, broadcast_to(logabsdet(W_, factorized()), {x.size(0)})};
}

Tensor Linear::inverse(const Tensor& z, Pass&) const {
  return transpose(factorized().solve(transpose(flattened(z).value() - b_.value())));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

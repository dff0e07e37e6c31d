#include "backflow/flows/linear/conv1x1.h"

#include <limits>

#include "backflow/ops/conv.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

static Var mix_channels(const Var& x, const Var& matrix) {
  return conv2d(x, reshape(matrix, {matrix.size(0), matrix.size(1), 1, 1}));
}

Conv1x1::Conv1x1(Tensor W) : W_(add_parameter("W", std::move(W))) {
  if (W_.shape().rank() != 2 || W_.shape()[0] != W_.shape()[1])
    fail("conv1x1", "W must be a square matrix, its shape is ", W_.shape());
}

LU Conv1x1::factorized() const {
  const std::lock_guard lock(cache_);
  if (!lu_ || version_ != W_.version()) {
    lu_.emplace(W_.value());
    version_ = W_.version();
  }
  return *lu_;
}

Out Conv1x1::forward(const Var& x, Pass&) const {
  const Var z = mix_channels(x, W_);
  const Real pixels = static_cast<Real>(x.size(2) * x.size(3));
  return {z, broadcast_to(pixels * logabsdet(W_, factorized()), {x.size(0)})};
}

Tensor Conv1x1::inverse(const Tensor& z, Pass&) const {
  return mix_channels(z, factorized().inverse()).value();
}

HouseholderConv1x1::HouseholderConv1x1(Tensor V) : V_(add_parameter("V", std::move(V))) {
  if (V_.shape().rank() != 2)
    fail("householder", "V must be (reflections, C), its shape is ", V_.shape());
}

Var HouseholderConv1x1::orthogonal() const {
  const Tensor squares = sum(V_.value() * V_.value(), {1});
  for (Index i = 0; i < squares.size(); ++i) {
    if (squares[i] < std::numeric_limits<Real>::min())  // 2 / squares[i] might overflow
      fail("householder", "row ", i, " of V is 0 to rounding, and reflects in no direction");
    if (squares[i] > std::numeric_limits<Real>::max())
      fail("householder", "row ", i, " of V is so long that its square overflows");
  }
  Var Q = Tensor::identity(V_.shape()[1]);
  for (Index i = 0; i < V_.shape()[0]; ++i) {
    const Var v = slice(V_, 0, i, i + 1);  // a row
    Q = Q - matmul(matmul(Q, transposed(v)) * (2 / sum(square(v))), v);
  }
  return Q;
}

Out HouseholderConv1x1::forward(const Var& x, Pass&) const {
  return {mix_channels(x, orthogonal()), Tensor::zeros({x.size(0)})};
}

Tensor HouseholderConv1x1::inverse(const Tensor& z, Pass&) const {
  return mix_channels(z, transpose(orthogonal().value())).value();
}

}  // namespace backflow::inline BACKFLOW_PRECISION

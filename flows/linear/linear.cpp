#include "backflow/flows/linear/linear.h"

#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

Linear::Linear(Tensor W, Tensor b)
    : W_(add_parameter("weight_fwd", std::move(W))),
      b_(add_parameter("bias_fwd", std::move(b))),
      map_(LinearMap::of(W_.shape())) {
  const Index n = map_.outputs(W_.shape());
  if (!(b_.shape() == Shape{n}))
    fail("linear", "W is ", W_.shape(), ", so b must be (", n, "), its shape is ", b_.shape());
}

Var Linear::bias() const { return reshape(b_, map_.bias_shape(W_.shape())); }

static bool same_examples(const Shape& a, const Shape& b) {
  return a.rank() == b.rank() && std::equal(a.begin() + 1, a.end(), b.begin() + 1);
}

std::shared_ptr<const Factorization> Linear::factorized(const Shape& batch) const {
  const std::lock_guard lock(cache_);
  return factorized_locked(batch);
}

std::shared_ptr<const Factorization> Linear::factorized_locked(const Shape& batch) const {
  if (!factorization_ || version_ != W_.version() || !same_examples(batch_, batch)) {
    factorization_ = map_.factorize(W_.value(), batch);
    version_ = W_.version();
    batch_ = batch;
  }
  return factorization_;
}

// The next batch is taken to have the shape of the last one; if it has not, forward() factorises.
void Linear::prepare(Mode mode, bool gradients) const {
  if (!factorizes(mode)) return;
  std::shared_ptr<const Factorization> factorization;
  {
    const std::lock_guard lock(cache_);
    if (!factorization_) return;
    factorization = factorized_locked(batch_);
  }
  if (gradients) factorization->logdet_gradient();
}

Out Linear::exact_forward(const Var& input) const {
  const Var x = reshape_examples(input);
  const auto factorization = factorized(x.shape());
  const Tensor logdet = Tensor::full({x.size(0)}, static_cast<Real>(factorization->log_abs_det()));
  return {apply(map_, W_, x) + bias(),
          record("logabsdet", logdet, grad(W_, [factorization](const Tensor& g) {
                   return sum(g) * factorization->logdet_gradient();
                 }))};
}

Tensor Linear::inverse(const Tensor& z, Pass&) const {
  const Tensor shifted = reshape_examples(z).value() - bias().value();
  return factorized(shifted.shape())->solve(shifted);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/flows/linear/linear.h"

#include "backflow/engine/parallel.h"
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

template <class T, class Compute>
std::shared_ptr<const T> Linear::up_to_date(Kept<T>& kept, const Shape& batch,
                                            Compute compute) const {
  const std::lock_guard lock(cache_);
  if (!kept.value || kept.version != W_.version() || !same_examples(kept.batch, batch))
    kept = {compute(), W_.version(), batch};
  last_batch_ = batch;
  return kept.value;
}

std::shared_ptr<const Factorization> Linear::factorized(const Shape& batch) const {
  return up_to_date(exact_, batch, [&] { return map_.factorize(W_.value(), batch); });
}

std::shared_ptr<const LogDeterminant> Linear::logdet(const Shape& batch, Mode mode) const {
  if (mode == Mode::exact) return factorized(batch);
  return up_to_date(training_, batch, [&] { return map_.logdet_in_real(W_.value(), batch); });
}

Shape Linear::last_batch() const {
  const std::lock_guard lock(cache_);
  return last_batch_;
}

// The next batch is taken to have the shape of the last one; if it has not, forward() computes
// anew.
void Linear::prepare(Mode mode, bool gradients) const {
  const Shape batch = last_batch();
  if (!factorizes(mode) || batch.rank() == 0) return;
  const auto determinant = logdet(batch, mode);
  if (gradients) determinant->logdet_gradient();
}

double Linear::prepare_flop(Mode mode) const {
  const Shape batch = last_batch();
  return factorizes(mode) && batch.rank() > 0 ? map_.logdet_flop(W_.shape(), batch) : 0;
}

Out Linear::exact_forward(const Var& input, Mode mode) const {
  const Var x = reshape_examples(input);
  const auto determinant = logdet(x.shape(), mode);
  const Tensor value = Tensor::full({x.size(0)}, static_cast<Real>(determinant->log_abs_det()));
  const auto rule = [determinant](const Tensor& g, Accumulator& into) {
    const Real scale = sum(g).item();
    const Real* const d = determinant->logdet_gradient().data();
    into.add_in_place([&](Tensor& gw, Real beta) {
      Real* const to = gw.mutable_data();
      for_each_element(gw.size(), [=](Index i) { to[i] = (beta == 0 ? 0 : to[i]) + scale * d[i]; });
    });
  };
  return {apply(map_, W_, x) + bias(), record("logabsdet", value, grad(W_, rule))};
}

Tensor Linear::inverse(const Tensor& z, Pass&) const {
  const Tensor shifted = reshape_examples(z).value() - bias().value();
  return factorized(shifted.shape())->solve(shifted);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

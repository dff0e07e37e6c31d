#include "backflow/flows/autoregressive/autoregressive.h"

#include <numeric>

#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

static Index parameters_of(const Transform* transform) {
  if (!transform) fail("autoregressive", "the transform is null");
  return transform->parameters();
}

Autoregressive::Autoregressive(const std::vector<Index>& order,
                               std::unique_ptr<Transform> transform, const Net& net,
                               const Random& random, Start start,
                               const std::vector<Index>& hidden_degrees)
    : transform_(std::move(transform)),
      made_(order, parameters_of(transform_.get()), net, random.stream(0), hidden_degrees) {
  add_module("made", made_);
  add_module("transform", *transform_);
  const Index D = std::ssize(made_.order());
  made_.start_at(initial_parameters(*transform_, D, random.stream(1)), start);
}

Out Autoregressive::forward(const Var& x, Pass& pass) const {
  const auto [z, log_slope] = transform_->forward(x, made_(x, pass));
  return {z, sum_examples(log_slope)};
}

// Faster than slice(), of which there would be one for each coordinate.
static Tensor column(const Tensor& z, Index i) {
  const Index B = z.size(0), D = z.size(1);
  Tensor out = Tensor::empty({B, 1});
  Real* const to = out.mutable_data();
  const Real* const from = z.data() + i;
  for (Index b = 0; b < B; ++b) to[b] = from[b * D];
  return out;
}

Tensor Autoregressive::inverse(const Tensor& z, Pass& pass) const {
  return made_.fill(z.shape(), pass, [&](Index i, const Tensor& p) {
    return transform_->inverse(column(z, i), p.reshape({p.size(0), 1, p.size(1)}));
  });
}

// In each evaluation of the network the coordinates that are not known yet are 0: nothing that is
// used depends on them. Where no gradient is wanted the network need not be evaluated as a whole
// for each of them.
Out Autoregressive::inverse_recorded(const Var& z, Pass& pass) const {
  const Index D = std::ssize(made_.order());
  if (z.rank() != 2 || z.size(1) != D)
    fail("autoregressive", "a batch (B, ", D, ") expected, the shape is ", z.shape());
  if (!grad_enabled()) {
    const Tensor x = inverse(z.value(), pass);
    return {x, -forward(x, pass).logdet};
  }
  const Shape column{z.size(0), 1};
  std::vector<Var> x(static_cast<std::size_t>(D), Tensor::zeros(column));
  Var logdet = Tensor::zeros(column);
  for (const Index i : made_.order()) {
    const Var p = slice(made_(concat(x, 1), pass), 1, i, i + 1);
    const auto [x_i, log_slope] = invert(*transform_, slice(z, 1, i, i + 1), p);
    x[i] = x_i;
    logdet = logdet + log_slope;
  }
  return {concat(x, 1), reshape(logdet, Shape{z.size(0)})};
}

std::vector<Index> ascending(Index D) {
  if (D < 1) fail("autoregressive", "at least one coordinate expected, got ", D);
  std::vector<Index> order(static_cast<std::size_t>(D));
  std::iota(order.begin(), order.end(), Index{0});
  return order;
}

std::vector<Index> descending(Index D) {
  const std::vector<Index> order = ascending(D);
  return {order.rbegin(), order.rend()};
}

}  // namespace backflow::inline BACKFLOW_PRECISION

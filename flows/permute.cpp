#include "backflow/flows/permute.h"

#include "backflow/engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

std::vector<Index> inverse_of(const std::vector<Index>& order) {
  const Index D = std::ssize(order);
  std::vector<Index> back(order.size(), -1);
  for (Index i = 0; i < D; ++i) {
    if (order[i] < 0 || order[i] >= D || back[order[i]] != -1)
      fail("permute", "an order of ", D, " coordinates must hold each of 0 ... ", D - 1,
           " once, number ", i, " is ", order[i]);
    back[order[i]] = i;
  }
  return back;
}

void check_batch(const Shape& x, Index D, const Pass& pass) {
  if (x.rank() != 2 || x[1] != D)
    fail("permute", "a batch (B, ", D, ") expected, the shape is ", x);
  check_context("permute", 0, pass, x[0]);
}

Tensor permuted(const Tensor& x, const std::vector<Index>& order) {
  const Index D = std::ssize(order);
  Tensor z = Tensor::empty(x.shape());
  parallel_for(x.size(0), std::max<Index>(1, elements_per_chunk / std::max<Index>(1, D)),
               [&, from = x.data(), to = z.mutable_data()](Index b, Index end) {
                 for (; b < end; ++b)
                   for (Index i = 0; i < D; ++i) to[b * D + i] = from[b * D + order[i]];
               });
  return z;
}

Out apply(const Var& x, const std::vector<Index>& order, const std::vector<Index>& back) {
  const Tensor z = permuted(x.value(), order);
  return {record("permute", z, grad(x, [back](const Tensor& g) { return permuted(g, back); })),
          Tensor::zeros({x.size(0)})};
}

}  // namespace

Permute::Permute(std::vector<Index> order) : order_(std::move(order)), back_(inverse_of(order_)) {}

Out Permute::forward(const Var& x, Pass& pass) const {
  check_batch(x.shape(), std::ssize(order_), pass);
  return apply(x, order_, back_);
}

Tensor Permute::inverse(const Tensor& z, Pass& pass) const {
  check_batch(z.shape(), std::ssize(order_), pass);
  return permuted(z, back_);
}

Out Permute::inverse_recorded(const Var& z, Pass& pass) const {
  check_batch(z.shape(), std::ssize(order_), pass);
  return apply(z, back_, order_);
}

std::unique_ptr<Permute> reverse(Index D) {
  if (D < 0) fail("permute", "a number of coordinates expected, got ", D);
  std::vector<Index> order;
  for (Index i = D; i > 0; --i) order.push_back(i - 1);
  return std::make_unique<Permute>(std::move(order));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

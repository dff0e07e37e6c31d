#include "backflow/flows/image/variational_dequantization.h"

#include <cmath>

#include "backflow/engine/parallel.h"
#include "backflow/flows/bases.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr char name[] = "variational_dequantization";

// eps, (B, D): each example has numbers of its own, whatever batch it is in.
Tensor normal_noise(const Shape& shape, const Pass& pass) {
  if (!pass.noise) return Tensor::zeros(shape);
  if (pass.examples.empty()) return pass.noise->normal(shape);
  if (std::ssize(pass.examples) != shape[0])
    fail(name, "the pass names ", pass.examples.size(), " examples, the shape is ", shape);
  Tensor eps = Tensor::empty(shape);
  const Index D = shape[1];
  const Index rows = std::max<Index>(1, elements_per_chunk / std::max<Index>(1, D));
  parallel_for(shape[0], rows, [&, to = eps.mutable_data()](Index row, Index end) {
    for (; row < end; ++row)
      pass.noise->normal(pass.examples[row], std::span(to + row * D, static_cast<std::size_t>(D)));
  });
  return eps;
}

Shape flat(const Shape& x) {
  if (x.rank() == 0) fail(name, "a batch of examples expected, the shape is ", x);
  return {x[0], x.size() / std::max<Index>(1, x[0])};
}

// Rounding must not reach the next pixel value.
Var within_pixel(const Var& x, const Var& u) {
  const auto pass_on = [](Real, Real, Real g) { return g; };
  return pointwise(
      name, x, u, [](Real x, Real u) { return x + u < x + 1 ? x + u : std::nextafter(x + 1, x); },
      pass_on, pass_on);
}

}  // namespace

VariationalDequantization::VariationalDequantization(std::unique_ptr<Flow> flow, Index levels)
    : flow_(std::move(flow)), levels_(levels) {
  if (!flow_) fail(name, "the flow is null");
  if (levels < 1) fail(name, "at least one level expected, got ", levels);
  add_module("flow", *flow_);
}

// The walk of the flow that draws the noise for x.
Pass VariationalDequantization::given(const Var& x, const Pass& pass) const {
  const Shape shape = flat(x.shape());
  check_context(name, 0, pass, shape[0]);
  if (flow_->context() != shape[1])
    fail(name, "examples of ", flow_->context(),
         " numbers, the flow's context, expected; the shape is ", x.shape());
  Pass walk;
  walk.mode = pass.mode;
  walk.step_begun = pass.step_begun;
  walk.context = (2.0 / static_cast<double>(levels_)) * (reshape(x, shape) + 0.5) - 1;
  return walk;
}

Out VariationalDequantization::forward(const Var& x, Pass& pass) const {
  Pass walk = given(x, pass);
  const Tensor eps = normal_noise(flat(x.shape()), pass);
  const Out v = flow_->forward(eps, walk);
  for (AuxiliaryLoss& loss : walk.losses) pass.losses.push_back(std::move(loss));
  const Var log_slope = sum_examples(log_sigmoid(v.z) + log_sigmoid(-v.z));  // of the sigmoid
  return {within_pixel(x, reshape(sigmoid(v.z), x.shape())),
          v.logdet + log_slope - standard_normal().log_prob(eps)};
}

Tensor VariationalDequantization::inverse(const Tensor& z, Pass&) const {
  return pointwise(z, [](Real z) { return std::floor(z); });
}

// The flow's first batch is noise. Once it was seen, x may be anything.
void VariationalDequantization::begin_step(const Tensor& x, const Pass& pass) const {
  if (!flow_->awaits_first_batch()) return flow_->begin_step(x, pass);
  const NoGrad no_grad;
  flow_->begin_step(normal_noise(flat(x.shape()), pass), given(x, pass));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

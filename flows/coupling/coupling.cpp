#include "backflow/flows/coupling/coupling.h"

#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

// How many numbers the network gives.
static Index outputs(Index D, Index kept, const Transform* transform) {
  if (!transform) fail("coupling", "the transform is null");
  if (D < 2)
    fail("coupling", "2 coordinates at least can be split, got D = ", D,
         "; Autoregressive takes 1");
  if (kept < 1 || kept >= D)
    fail("coupling", "1 ... ", D - 1, " of ", D, " coordinates must be kept, got ", kept);
  return (D - kept) * transform->parameters();
}

Coupling::Coupling(Index D, Index kept, std::unique_ptr<Transform> transform, const Net& net,
                   const Random& random, Start start)
    : D_(D),
      kept_(kept),
      transform_(std::move(transform)),
      net_(kept, outputs(D, kept, transform_.get()), net, random.stream(0)) {
  add_module("net", net_);
  add_module("transform", *transform_);
  net_.start_at(initial_parameters(*transform_, D - kept, random.stream(1)), start);
}

Coupling::Split Coupling::split(const Var& x, const Pass& pass) const {
  if (x.rank() != 2 || x.size(1) != D_)
    fail("coupling", "a batch (B, ", D_, ") expected, the shape is ", x.shape());
  const Var kept = slice(x, 1, 0, kept_), p = net_(kept, pass);
  return {kept, slice(x, 1, kept_, D_),
          reshape(p, Shape{x.size(0), D_ - kept_, transform_->parameters()})};
}

Out Coupling::forward(const Var& x, Pass& pass) const {
  const Split at = split(x, pass);
  const auto [z, log_slope] = transform_->forward(at.others, at.parameters);
  return {concat({at.kept, z}, 1), sum_examples(log_slope)};
}

Tensor Coupling::inverse(const Tensor& z, Pass& pass) const {
  const NoGrad no_grad;
  const Split at = split(z, pass);
  return concat({at.kept.value(), transform_->inverse(at.others.value(), at.parameters.value())},
                1);
}

Out Coupling::inverse_recorded(const Var& z, Pass& pass) const {
  const Split at = split(z, pass);
  const auto [x, log_slope] = invert(*transform_, at.others, at.parameters);
  return {concat({at.kept, x}, 1), sum_examples(log_slope)};
}

}  // namespace backflow::inline BACKFLOW_PRECISION

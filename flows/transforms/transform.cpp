#include "backflow/flows/transforms/transform.h"

#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

void check_parameters(const char* who, const Transform& transform, const Shape& x, const Shape& p) {
  const Index K = transform.parameters();
  if (x.rank() != 2 || !(p == Shape{x[0], x[1], K}))
    fail(who, "x (B, D) and parameters (B, D, ", K, ") expected, the shapes are ", x, " and ", p);
}

Tensor initial_parameters(const Transform& transform, Index elements, const Random& random) {
  std::vector<Tensor> all;
  for (Index i = 0; i < elements; ++i)
    all.push_back(transform.initial(random.stream(static_cast<std::uint32_t>(i))));
  return concat(all, 0);
}

std::array<Var, 2> invert(const Transform& transform, const Var& z, const Var& p) {
  const Tensor root = transform.inverse(z.value(), p.value());
  Tensor inverse_slope;
  {
    const NoGrad no_grad;
    inverse_slope = exp(-transform.forward(root, p.value())[1]).value();
  }
  // The root and its slope do not depend on anything as far as gradients go, but x does: with it
  // log f' is a function of x and p.
  const Var x = Var(root) - (transform.forward(root, p)[0] - z) * Var(inverse_slope);
  return {x, -transform.forward(x, p)[1]};
}

}  // namespace backflow::inline BACKFLOW_PRECISION

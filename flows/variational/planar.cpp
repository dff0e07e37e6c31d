#include "backflow/flows/variational/planar.h"

#include <cmath>
#include <limits>

#include "backflow/ops/matmul.h"
#include "backflow/ops/plus_tanh.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {

static Real dot(const Tensor& a, const Tensor& b) {
  return static_cast<Real>(sum_in_lanes(a.size(), [&](Index i) { return a[i] * b[i]; }));
}

// The u for which w.u' = 0, and so u' = 0: softplus(w.u) = 1.
static Tensor u_of_identity(const Tensor& w) {
  return w * (static_cast<Real>(std::log(std::expm1(1))) / dot(w, w));
}

Planar::Planar(Index D, const Random& random)
    : w_(add_parameter("w", random.stream(0).normal({1, D}))),
      b_(add_parameter("b", random.stream(1).normal({1}))),
      u_(add_parameter("u",
                       u_of_identity(w_.value()) + Real(0.1) * random.stream(2).normal({1, D}))) {
  if (D < 1) fail("planar", "examples of at least one value expected, got ", D);
}

// As ops it would be u + (softplus(w.u) - 1 - w.u) / square(w) * w: ten of them on two numbers
// each, which took longer than the layer. So it is one op. With s, the factor of w:
//
//   ds = ((softplus'(w.u) - 1) d(w.u) - 2 s w.dw) / |w|^2
Planar::Bend Planar::bend() const {
  const Tensor U = u_.value(), W = w_.value();
  const Real along = dot(W, U), square = dot(W, W);
  if (square < std::numeric_limits<Real>::min())
    fail("planar", "w is 0 to rounding, and has no direction to bend along");
  if (square > std::numeric_limits<Real>::max())
    fail("planar", "w is so long that its square overflows");
  const Real slope = vector_math::softplus(along), s = (slope - 1 - along) / square;
  const auto [u, k] =
      record("planar_bend", {U + s * W, Tensor({1}, {slope})},
             joint_grad({u_, w_}, [=](const Tensor& gu, const Tensor& gk) {
               const Real gs = dot(gu, W) / square, sigmoid = vector_math::sigmoid(along);
               const Real g_along = gs * (sigmoid - 1) + gk.item() * sigmoid;
               return grads(gu + g_along * W, s * gu + g_along * U - (2 * s * gs) * W);
             }));
  return {u, k};
}

Var Planar::along_w(const Var& x, const Pass& pass) const {
  const Index D = w_.shape()[1];
  if (x.rank() != 2 || x.size(1) != D)
    fail("planar", "a batch (B, ", D, ") expected, the shape is ", x.shape());
  check_context("planar", 0, pass, x.size(0));
  return matmul(w_, transposed(x)) + b_;
}

Out Planar::forward(const Var& x, Pass& pass) const {
  const auto [u, slope] = bend();
  const auto [t, logdet] = tanh_and_logdet(along_w(x, pass), slope);
  return {x + matmul(transposed(t), u), logdet};
}

// With y = w.x + b in place of x: w.z + b = y + w.u' tanh(y).
Out Planar::inverse_recorded(const Var& z, Pass& pass) const {
  const auto [u, slope] = bend();
  const Var y = solve_plus_tanh("planar", along_w(z, pass), slope, Tensor::zeros({1, 1}));
  const auto [t, logdet] = tanh_and_logdet(y, slope);
  return {z - matmul(transposed(t), u), -logdet};
}

Tensor Planar::inverse(const Tensor& z, Pass& pass) const {
  const NoGrad no_grad;
  return inverse_recorded(z, pass).z.value();
}

std::unique_ptr<Flow> planar(Index D, const PlanarOptions& options, const Random& random) {
  if (options.layers < 1) fail("planar", "at least one layer expected, got ", options.layers);
  std::vector<std::unique_ptr<Flow>> layers;
  for (int i = 0; i < options.layers; ++i)
    layers.push_back(std::make_unique<Planar>(D, random.stream(static_cast<std::uint32_t>(i))));
  return between_ends(D, options.ends, std::move(layers));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

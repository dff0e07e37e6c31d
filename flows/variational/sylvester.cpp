#include "backflow/flows/variational/sylvester.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "backflow/ops/matmul.h"
#include "backflow/ops/plus_tanh.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Basis = Sylvester::Basis;

// 1 above the diagonal, else 0.
Tensor strictly_upper(Index n) {
  Tensor mask = Tensor::zeros({n, n});
  for (Index i = 0; i < n; ++i)
    std::fill_n(mask.mutable_data() + i * n + i + 1, n - i - 1, Real(1));
  return mask;
}

Var triangle(const Var& matrix, const Var& diagonal) {
  const Index M = diagonal.size(0);
  return where(Tensor::identity(M), diagonal, matrix * Var(strictly_upper(M)));
}

// The orthonormal matrix nearest to q: all singular values become 1, from at most 1 in the
// beginning. Each step squares their distance from it, once they are near (Bjorck & Bowie, 1971).
Var orthonormal(const Var& q) {
  constexpr int most_steps = 100;  // enough for singular values whose ratio is 1e-14
  const Tensor I = Tensor::identity(q.size(1));
  const Real near = std::sqrt(std::numeric_limits<Real>::epsilon()) / 4;
  Var Q = q / norm(q);
  for (int step = 0; step < most_steps; ++step) {
    const Var rest = I - matmul(transposed(Q), Q);
    Q = Q + matmul(Q, 0.5 * rest);
    if (norm(rest.value()).item() < near) return Q;
  }
  fail("sylvester", "the columns of q are dependent to rounding: no orthonormal matrix is nearest");
}

// The first columns of H_K ... H_1.
Var reflected(const Var& V, Var Q) {
  for (Index k = 0; k < V.size(0); ++k) {
    const Var v = slice(V, 0, k, k + 1), square = matmul(v, transposed(v));
    if (square.item() < std::numeric_limits<Real>::min())
      fail("sylvester", "row ", k, " of q is 0 to rounding, and reflects in no direction");
    if (square.item() > std::numeric_limits<Real>::max())
      fail("sylvester", "row ", k, " of q is so long that its square overflows");
    Q = Q - matmul(transposed(v), matmul(v, Q) * (2 / square));
  }
  return Q;
}

Shape shape_of_q(Index D, Index M, const Sylvester::Options& options) {
  if (options.basis == Basis::orthogonal) return {D, M};
  return {options.basis == Basis::householder ? options.reflections : 0, D};
}

}  // namespace

Sylvester::Sylvester(Index D, const Options& options, const Random& random)
    : D_(D),
      M_(options.units == 0 ? D : options.units),
      basis_(options.basis),
      full_(add_parameter("full", random.stream(0).normal({M_, M_}) * Real(0.1))),
      diag1_(add_parameter("diag1", random.stream(1).normal({1, M_}).reshape({M_}) * Real(0.1))),
      diag2_(add_parameter("diag2", random.stream(2).normal({1, M_}).reshape({M_}))),
      b_(add_parameter("b", random.stream(3).normal({1, M_}).reshape({M_}))) {
  if (M_ < 1 || M_ > D) fail("sylvester", "1 to ", D, " units expected, got ", options.units);
  if (options.reflections < 0)
    fail("sylvester", "the number of reflections is ", options.reflections);
  const Shape q = shape_of_q(D, M_, options);
  if (q[0] > 0) q_ = &add_parameter("q", random.stream(4).normal(q));
}

Var Sylvester::Q() const {
  if (basis_ == Basis::orthogonal) return orthonormal(*q_);
  const Tensor columns = slice(Tensor::identity(D_), 1, 0, M_);
  if (basis_ == Basis::reversal) return flip(columns, {0});
  return q_ ? reflected(*q_, columns) : columns;
}

Var Sylvester::R1() const { return triangle(full_, tanh(diag1_)); }
Var Sylvester::R2() const { return triangle(transpose(full_), tanh(diag2_)); }

Sylvester::Units Sylvester::units() const {
  const Var basis = Q();
  return {matmul(R2(), transposed(basis)), matmul(basis, R1()), one_plus_tanh_tanh(diag1_, diag2_)};
}

Var Sylvester::inputs(const Units& units, const Var& x, const Pass& pass) const {
  if (x.rank() != 2 || x.size(1) != D_)
    fail("sylvester", "a batch (B, ", D_, ") expected, the shape is ", x.shape());
  check_context("sylvester", 0, pass, x.size(0));
  return matmul(units.in, transposed(x)) + reshape(b_, {M_, 1});
}

Out Sylvester::forward(const Var& x, Pass& pass) const {
  const Units units = this->units();
  const auto [t, logdet] = tanh_and_logdet(inputs(units, x, pass), units.slopes);
  return {x + matmul(transposed(t), transposed(units.out)), logdet};
}

Out Sylvester::inverse_recorded(const Var& z, Pass& pass) const {
  const Units units = this->units();
  const Var product = matmul(R2(), R1());
  const Var y = solve_plus_tanh("sylvester", inputs(units, z, pass), units.slopes, product);
  const auto [t, logdet] = tanh_and_logdet(y, units.slopes);
  return {z - matmul(transposed(t), transposed(units.out)), -logdet};
}

Tensor Sylvester::inverse(const Tensor& z, Pass& pass) const {
  const NoGrad no_grad;
  return inverse_recorded(z, pass).z.value();
}

std::unique_ptr<Flow> sylvester(Index D, const SylvesterOptions& options, const Random& random) {
  if (options.layers < 1) fail("sylvester", "at least one layer expected, got ", options.layers);
  std::vector<std::unique_ptr<Flow>> layers;
  for (int i = 0; i < options.layers; ++i) {
    Sylvester::Options layer = options.layer;
    if (layer.basis == Basis::identity && i % 2 == 1) layer.basis = Basis::reversal;
    layers.push_back(
        std::make_unique<Sylvester>(D, layer, random.stream(static_cast<std::uint32_t>(i))));
  }
  return between_ends(D, options.ends, std::move(layers));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/flows/residual/logdet.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "backflow/engine/parallel.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Var dot(const Var& a, const Var& b) { return sum(a * b, {1}); }  // (B, D), (B, D) -> (B)

// N with P(N >= n) = (1 - stop)^(n - 1), by its inverse distribution function. u is refined by
// another one: a single float ends at 1 - 2^-24, and so would bound N.
double geometric(double u, double refinement, double stop) {
  const double tail = (1 - u) - refinement * std::numeric_limits<Real>::epsilon() / 2;
  return 1 + std::floor(std::log(tail) / std::log(1 - stop));
}

}  // namespace

void check_series(const SeriesOptions& options) {
  if (options.terms < 0 || (options.terms == 0 && options.stop == 1))
    fail("residual", "a series of at least one term expected, got ", options.terms);
  if (!(options.stop > 0 && options.stop <= 1))
    fail("residual", "a probability to stop above 0, at most 1 expected, got ", options.stop);
}

Probe draw_probe(const Tensor& u, const SeriesOptions& options) {
  const Index B = u.size(0), D = u.size(1) - 2;
  const Tensor v =
      pointwise(slice(u, 1, 2, D + 2), [](Real x) { return x < Real(0.5) ? Real(-1) : Real(1); });
  std::vector<double> lengths(B, options.terms);
  if (options.stop < 1)
    for (Index b = 0; b < B; ++b)
      lengths[b] += geometric(u[b * (D + 2)], u[b * (D + 2) + 1], options.stop);
  Probe probe{v, {}};
  const double longest = B == 0 ? 0 : *std::max_element(lengths.begin(), lengths.end());
  for (int k = 1; k <= longest; ++k) {
    const double weight = std::pow(1 - options.stop, std::min(0, options.terms + 1 - k));
    Tensor c = Tensor::empty({B});
    for (Index b = 0; b < B; ++b)
      c.mutable_data()[b] = k <= lengths[b] ? static_cast<Real>(weight) : Real(0);
    probe.c.push_back(c);
  }
  return probe;
}

Var transposed_jacobian(const LipschitzNet& net, const Linearized& at) {
  const Index B = at.value.size(0), D = net.dimension();
  const Var columns = net.jvp(at, Tensor::identity(D).reshape({D, 1, D}));
  return permute(broadcast_to(columns, {D, B, D}), {1, 0, 2});
}

Var exact_logdet(const LipschitzNet& net, const Linearized& at) {
  return logabsdet(transposed_jacobian(net, at) + Tensor::identity(net.dimension()));
}

Var series_logdet(const LipschitzNet& net, const Linearized& at, const Probe& probe) {
  Var tangent = probe.v, logdet = Tensor::zeros({at.value.size(0)});
  for (std::size_t k = 1; k <= probe.c.size(); ++k) {
    tangent = -net.jvp(at, tangent);  // (-J)^k v
    const Tensor weight = probe.c[k - 1] * (Real(-1) / static_cast<Real>(k));
    logdet = logdet + weight * dot(probe.v, tangent);
  }
  return logdet;
}

namespace {

Tensor rows_of(const Tensor& x, const std::vector<Index>& rows) {
  const Index width = x.size(1);
  Tensor y = Tensor::empty({std::ssize(rows), width});
  Real* to = y.mutable_data();
  for (const Index row : rows) to = std::copy_n(x.data() + row * width, width, to);
  return y;
}

// The examples whose series goes on, and their tangents. Most series are short, and the longest of
// a large batch is long: so examples are left out once a quarter of those at hand has ended.
class Remaining {
 public:
  Remaining(const Linearized& at, const Tensor& v) : at_(at), tangent_(v), examples_(v.size(0)) {
    std::iota(examples_.begin(), examples_.end(), Index{0});
  }

  void leave_out_ended(const Tensor& c) {
    std::vector<Index> kept, examples;
    for (Index i = 0; i < std::ssize(examples_); ++i)
      if (c[examples_[i]] != 0) kept.push_back(i), examples.push_back(examples_[i]);
    if (4 * kept.size() > 3 * examples_.size()) return;
    tangent_ = rows_of(tangent_, kept);
    for (Var& slope : at_.slopes)
      if (slope.value().defined()) slope = rows_of(slope.value(), kept);
    examples_ = std::move(examples);
  }
  void step(const LipschitzNet& net) { tangent_ = -net.jvp(at_, tangent_).value(); }

  // body(example, its tangent)
  template <class Body>
  void for_each(const Body& body) const {
    const Real* tangent = tangent_.data();
    for (const Index example : examples_) {
      body(example, tangent);
      tangent += tangent_.size(1);
    }
  }

 private:
  Linearized at_;
  Tensor tangent_;
  std::vector<Index> examples_;
};

}  // namespace

NeumannSeries neumann_series(const LipschitzNet& net, const Linearized& at, const Probe& probe) {
  const NoGrad no_grad;
  const Index B = probe.v.size(0), D = probe.v.size(1);
  NeumannSeries series{Tensor::zeros({B}), Tensor::empty(probe.v.shape())};
  std::copy_n(probe.v.data(), B * D, series.u.mutable_data());
  Remaining remaining(at, probe.v);
  for (std::size_t k = 1; k <= probe.c.size(); ++k) {
    const Tensor& c = probe.c[k - 1];
    remaining.leave_out_ended(c);
    remaining.step(net);  // (-J)^k v
    remaining.for_each([&, v = probe.v.data(), u = series.u.mutable_data(),
                        logdet = series.logdet.mutable_data()](Index b, const Real* tangent) {
      if (c[b] == 0) return;
      const double product =
          sum_in_lanes(D, [=](Index i) { return v[b * D + i] * tangent[i]; }) / double(k);
      logdet[b] -= c[b] * static_cast<Real>(product);
      for (Index i = 0; i < D; ++i) u[b * D + i] += c[b] * tangent[i];
    });
  }
  return series;
}

// The gradient of log det(I + J) is that of
//
//   trace((I + J)^-1 dJ) = E[v^T dJ (I + J)^-1 v],   (I + J)^-1 = sum_k (-1)^k J^k
//
// whose series, broken off like the other one, gives u. So it is the gradient of s = v^T J u with u
// held fixed: one recorded tangent, however long the series is, and none of its terms is kept.
//
// But the value of s is no log-determinant. The series has one, a true estimate; of s we want
// the gradient alone. That is what override_gradient() is for: the value of the one, with the
// gradient of the other. What training prints is in the mean the log-determinant, and what it
// follows is in the mean its gradient.
//
// (The authors have (J^T)^k v on the left of dJ, by products with the transposed Jacobian, which
// take a backward pass each; a trace does not care. And their training prints s.)
Var neumann_logdet(const LipschitzNet& net, const Linearized& at, const Probe& probe) {
  const auto [series, u] = neumann_series(net, at, probe);
  if (!grad_enabled()) return series;
  const Var s = dot(probe.v, net.jvp(at, u));
  return override_gradient("logdet", series, {s}, [](const Tensor& g) { return g; });
}

}  // namespace backflow::inline BACKFLOW_PRECISION

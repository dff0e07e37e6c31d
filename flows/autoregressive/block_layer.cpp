#include "backflow/flows/autoregressive/block_layer.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include "backflow/engine/parallel.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Where a row's numbers lie: `below` of them in front of the `inner` ones of its diagonal block.
struct Blocks {
  Index D, outer, inner;

  Index width() const { return D * inner; }
  Index below(Index row) const { return row / outer * inner; }

  template <class Body>
  void for_each_row(const Body& body) const {
    parallel_for(D * outer, 1 + elements_per_chunk / width(), [&](Index row, Index end) {
      for (; row < end; ++row) body(row, row * width());
    });
  }
};

// The logarithm of the length of (w_0, ..., e^u_0, ...). Below it the exponents are shifted by the
// largest, so that the squares neither overflow nor all vanish.
double log_length(const Real* w, Index below, const Real* u, Index inner) {
  double largest_w = 0, shift = u[0];
  for (Index i = 0; i < below; ++i) largest_w = std::max<double>(largest_w, std::abs(w[i]));
  for (Index i = 0; i < inner; ++i) shift = std::max<double>(shift, u[i]);
  if (largest_w > 0) shift = std::max(shift, std::log(largest_w));
  const double scale = largest_w > 0 ? std::exp(-shift) : 0;
  const double squares =
      sum_in_lanes(below, [=](Index i) { return (w[i] * scale) * (w[i] * scale); }) +
      sum_in_lanes(inner, [=](Index i) { return vector_math::exp(2 * (u[i] - shift)); });
  return shift + std::log(squares) / 2;
}

std::array<Tensor, 2> gradients(const Blocks& blocks, const Tensor& W, const Tensor& log_scale,
                                const Tensor& lengths, const std::array<Tensor, 2>& y,
                                const Tensor& gV, const Tensor& gL) {
  Tensor gW = Tensor::empty(W.shape()), gs = Tensor::empty(log_scale.shape());
  const auto row_gradient = [&, w = W.data(), s = log_scale.data(), n = lengths.data(),
                             V = y[0].data(), L = y[1].data(), gV = gV.data(), gL = gL.data(),
                             to = gW.mutable_data(), to_s = gs.mutable_data()](Index r, Index at) {
    const Index below = blocks.below(r), inner = blocks.inner, diagonal = at + below;
    const Real *const log_V = L + r * inner, *const g_log = gL + r * inner;
    // V is a product with e^s / length, log V a sum with its logarithm: of that, the gradient.
    const double g_factor =
        sum_in_lanes(below + inner, [=](Index i) { return gV[at + i] * V[at + i]; }) +
        sum_in_lanes(inner, [=](Index i) { return g_log[i]; });
    to_s[r] = static_cast<Real>(g_factor);
    const double by_length = std::exp(-double{n[r]}), by_factor = std::exp(double{s[r]} - n[r]);
    for (Index i = at; i < diagonal; ++i)
      to[i] = static_cast<Real>(gV[i] * by_factor - g_factor * (w[i] * by_length) * by_length);
    for (Index i = 0; i < inner; ++i) {
      const double unit = vector_math::exp(double{log_V[i]} - s[r]);
      to[diagonal + i] =
          static_cast<Real>(gV[diagonal + i] * V[diagonal + i] + g_log[i] - g_factor * unit * unit);
    }
    std::fill(to + diagonal + inner, to + at + blocks.width(), Real(0));
  };
  blocks.for_each_row(row_gradient);
  return grads(gW, gs);
}

}  // namespace

std::array<Var, 2> block_weight(const Var& W, const Var& log_scale, Index D) {
  if (D < 1 || W.rank() != 2 || W.size() == 0 || W.size(0) % D != 0 || W.size(1) % D != 0 ||
      log_scale.size() != W.size(0))
    fail("block_weight", "a weight of ", D, " x ", D,
         " blocks and one scale per row expected, the ", "shapes are ", W.shape(), " and ",
         log_scale.shape());
  const Blocks blocks{D, W.size(0) / D, W.size(1) / D};
  Tensor V = Tensor::zeros(W.shape()), L = Tensor::empty({D, blocks.outer, blocks.inner});
  Tensor lengths = Tensor::empty({W.size(0)});  // their logarithms
  blocks.for_each_row([&, w = W.value().data(), s = log_scale.value().data(),
                       n = lengths.mutable_data(), V = V.mutable_data(),
                       L = L.mutable_data()](Index r, Index at) {
    const Index below = blocks.below(r), inner = blocks.inner, diagonal = at + below;
    const double log_row = log_length(w + at, below, w + diagonal, inner);
    const double log_factor = s[r] - log_row, factor = std::exp(log_factor);
    n[r] = static_cast<Real>(log_row);
    for (Index i = at; i < diagonal; ++i) V[i] = static_cast<Real>(w[i] * factor);
    for (Index i = 0; i < inner; ++i) {
      const double log_V = w[diagonal + i] + log_factor;
      L[r * inner + i] = static_cast<Real>(log_V);
      V[diagonal + i] = static_cast<Real>(vector_math::exp(log_V));
    }
  });
  const std::array<Tensor, 2> y{V, L};
  return record("block_weight", {V, L},
                joint_grad({W, log_scale}, [=, W = W.value(), s = log_scale.value()](
                                               const Tensor& gV, const Tensor& gL) {
                  return gradients(blocks, W, s, lengths, y, gV, gL);
                }));
}

std::array<Tensor, 2> initial_block_weight(Index D, Index o, Index i, const Random& random) {
  Tensor W = random.stream(0).uniform({D * o, D * i});
  for_each_element(W.size(), [=, w = W.mutable_data()](Index k) {
    const Index seen = (k / (D * i) / o + 1) * i;
    w[k] = static_cast<Real>((2 * w[k] - 1) * std::sqrt(6.0 / static_cast<double>(seen + o)));
  });
  const auto log_above_0 = [](Real u) {
    return std::log(std::max(u, std::numeric_limits<Real>::epsilon()));
  };
  return {W, pointwise(random.stream(1).uniform({D * o, 1}), log_above_0)};
}

// log tanh'(a) = 2 (log 2 - |a| - log(1 + e^(-2 |a|)))
std::array<Var, 2> tanh_and_log_slope(const Var& a) {
  Tensor h = Tensor::empty(a.shape()), log_slope = Tensor::empty(a.shape());
  for_each_element(a.size(), [from = a.value().data(), h = h.mutable_data(),
                              l = log_slope.mutable_data()](Index i) {
    const Real size = std::abs(from[i]);
    h[i] = vector_math::tanh(from[i]);
    l[i] = 2 * (std::numbers::ln2_v<Real> - size - vector_math::softplus(-2 * size));
  });
  return record("tanh", {h, log_slope}, grad(a, [h](const Tensor& gh, const Tensor& gl) {
                  Tensor ga = Tensor::empty(h.shape());
                  for_each_element(h.size(), [h = h.data(), gh = gh.data(), gl = gl.data(),
                                              to = ga.mutable_data()](Index i) {
                    to[i] = gh[i] * (1 - h[i] * h[i]) - 2 * h[i] * gl[i];
                  });
                  return ga;
                }));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

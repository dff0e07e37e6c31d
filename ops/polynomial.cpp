#include "backflow/ops/polynomial.h"

#include <cmath>
#include <numbers>
#include <utility>

#include "backflow/engine/parallel.h"
#include "backflow/ops/increasing.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr char name[] = "sum_of_squares";
constexpr Index most_nodes = 16;

// ---- The integral -----------------------------------------------------------------------------

// int_0^1 f(t) dt = sum_j weight_j f(node_j) for polynomials f of degree 2 n - 1 and less.
template <class T>
struct GaussLegendre {
  T node[most_nodes], weight[most_nodes];
};

// The nodes of the rule on [-1, 1] are the roots of the Legendre polynomial L_n, found by Newton's
// method from a well-known guess; (m + 1) L_m+1 = (2 m + 1) y L_m - m L_m-1.
template <class T>
GaussLegendre<T> gauss_legendre(Index n) {
  GaussLegendre<T> rule{};
  for (Index j = 0; j < n; ++j) {
    double y = std::cos(std::numbers::pi * (double(j) + 0.75) / (double(n) + 0.5)), slope = 1;
    for (int step = 0; step < 6; ++step) {
      double before = 0, L = 1;
      for (Index m = 0; m < n; ++m) {
        const double k = double(m), next = ((2 * k + 1) * y * L - k * before) / (k + 1);
        before = std::exchange(L, next);
      }
      slope = double(n) * (y * L - before) / (y * y - 1);
      y -= L / slope;
    }
    rule.node[j] = static_cast<T>((1 + y) / 2);
    rule.weight[j] = static_cast<T>(1 / ((1 - y * y) * slope * slope));
  }
  return rule;
}

// ---- One element ------------------------------------------------------------------------------

// Of one element in T, with the coefficients a[k * terms + l].
template <class T>
struct Squares {
  Squares(const Shape& a, double floor)
      : K(a[-2]), terms(a[-1]), floor(static_cast<T>(floor)), rule(gauss_legendre<T>(terms)) {}

  T polynomial(const Real* a, T t) const {
    T P = 0;
    for (Index l = terms; l-- > 0;) P = P * t + a[l];
    return P;
  }

  T slope(const Real* a, T t) const {
    T sum = floor;
    for (Index k = 0; k < K; ++k) {
      const T P = polynomial(a + k * terms, t);
      sum += P * P;
    }
    return sum;
  }

  T value(const Real* a, T x) const {
    T sum = 0;
    for (Index j = 0; j < terms; ++j) sum += rule.weight[j] * slope(a, rule.node[j] * x);
    return x * sum;
  }

  // Adds, to the gradients ga of a, those of g slope(a, t).
  void add_gradients(const Real* a, T t, T g, Real* ga) const {
    for (Index k = 0; k < K; ++k) {
      T term = 2 * g * polynomial(a + k * terms, t);
      for (Index l = 0; l < terms; ++l, term *= t) ga[k * terms + l] += term;
    }
  }

  T slope_of_slope(const Real* a, T x) const {
    T sum = 0;
    for (Index k = 0; k < K; ++k) {
      T P = 0, slope = 0;
      for (Index l = terms; l-- > 0;) {
        slope = slope * x + P;
        P = P * x + a[k * terms + l];
      }
      sum += 2 * P * slope;
    }
    return sum;
  }

  Index K, terms;
  T floor;
  GaussLegendre<T> rule;
};

void check(const Tensor& x, const Tensor& a, double floor) {
  const bool fits = a.rank() == x.rank() + 2 && a.size(-1) >= 1 && a.size(-1) <= most_nodes;
  bool same = fits;
  for (int axis = 0; same && axis < x.rank(); ++axis) same = x.size(axis) == a.size(axis);
  if (!same)
    fail(name, "coefficients (..., K, R + 1) with R <= ", most_nodes - 1,
         " expected for x (...), the shapes are ", a.shape(), " and ", x.shape());
  if (!(floor >= 0 && std::isfinite(floor)))
    fail(name, "the floor must be at least 0 and finite, got ", floor);
}

}  // namespace

// ---- The op -----------------------------------------------------------------------------------

std::array<Var, 2> sum_of_squares(const Var& x, const Var& a, double floor) {
  const Tensor X = x.value(), A = a.value();
  check(X, A, floor);
  const Squares<Real> s(A.shape(), floor);
  const Index n = s.K * s.terms, at_once = std::max<Index>(1, elements_per_chunk / (8 * n + 1));
  Tensor value = Tensor::empty(X.shape()), log_slope = Tensor::empty(X.shape());
  parallel_for(X.size(), at_once,
               [&, y = value.mutable_data(), l = log_slope.mutable_data()](Index i, Index end) {
                 for (const Real* at = A.data() + i * n; i < end; ++i, at += n) {
                   y[i] = s.value(at, X[i]);
                   l[i] = vector_math::log(s.slope(at, X[i]));
                 }
               });
  return record(name, {value, log_slope},
                joint_grad({x, a}, [X, A, s, n, at_once](const Tensor& gv, const Tensor& gl) {
                  Tensor gx = Tensor::empty(X.shape()), ga = Tensor::zeros(A.shape());
                  parallel_for(
                      X.size(), at_once,
                      [&, to_x = gx.mutable_data(), to_a = ga.mutable_data()](Index i, Index end) {
                        for (; i < end; ++i) {
                          const Real* at = A.data() + i * n;
                          const Real x = X[i];
                          const Real slope = s.slope(at, x);
                          const Real per_slope =
                              gl[i] == 0 ? Real(0) : gl[i] / slope;  // the slope may be 0
                          to_x[i] = gv[i] * slope + per_slope * s.slope_of_slope(at, x);
                          s.add_gradients(at, x, per_slope, to_a + i * n);
                          for (Index j = 0; j < s.terms; ++j)
                            s.add_gradients(at, s.rule.node[j] * x, gv[i] * x * s.rule.weight[j],
                                            to_a + i * n);
                        }
                      });
                  return grads(gx, ga);
                }));
}

Tensor sum_of_squares_inverse(const Tensor& value, const Tensor& a, double floor) {
  check(value, a, floor);
  const Squares<double> s(a.shape(), floor);
  const auto of = [&, n = s.K * s.terms](Index i, double x) -> ValueAndSlope {
    const Real* at = a.data() + i * n;
    return {s.value(at, x), s.slope(at, x)};
  };
  return invert_each(
      name, value, [](Index) { return Interval{}; }, of);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

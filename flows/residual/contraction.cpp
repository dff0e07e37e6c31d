#include "backflow/flows/residual/contraction.h"

#include <algorithm>
#include <cmath>

#include "backflow/engine/parallel.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct Derivatives {
  Real value, slope, curvature;  // phi, phi', phi''
};

constexpr auto elu_at = [](Real a) -> Derivatives {
  const Real negative = std::min(a, Real(0)), e = vector_math::exp(negative);
  // e^a - 1 with all its digits near 0
  const Real less_1 = vector_math::tanh(negative / 2) * (e + 1);
  return {a > 0 ? a : less_1, e, a > 0 ? Real(0) : e};
};

constexpr auto tanh_at = [](Real a) -> Derivatives {
  const Real t = vector_math::tanh(a), slope = 1 - t * t;
  return {t, slope, -2 * t * slope};
};

constexpr auto sin_at = [](Real a) -> Derivatives {
  const Real s = std::sin(a);
  return {s, std::cos(a), -s};
};

// The op {phi(a), phi'(a)}, from phi's derivatives at one point.
template <class F>
std::array<Var, 2> value_and_slope(OpName op, const Var& a, F derivatives) {
  const Tensor A = a.value();
  Tensor value = Tensor::empty(A.shape()), slope = Tensor::empty(A.shape());
  for_each_element(A.size(), [derivatives, p = A.data(), v = value.mutable_data(),
                              s = slope.mutable_data()](Index i) {
    const Derivatives at = derivatives(p[i]);
    v[i] = at.value;
    s[i] = at.slope;
  });
  return record(op, {value, slope}, grad(a, [A, derivatives](const Tensor& gv, const Tensor& gs) {
                  Tensor ga = Tensor::empty(A.shape());
                  for_each_element(A.size(), [derivatives, p = A.data(), gv = gv.data(),
                                              gs = gs.data(), ga = ga.mutable_data()](Index i) {
                    const Derivatives at = derivatives(p[i]);
                    ga[i] = gv[i] * at.slope + gs[i] * at.curvature;
                  });
                  return ga;
                }));
}

// With s = sigmoid(t), t = b a, and w = s (1 - s) = ds/dt:
//
//   1.1 phi = a s,   1.1 phi' = s + t w,   1.1 phi'' = b w (2 + t (1 - 2 s))
//   1.1 dphi/db = a^2 w,   1.1 dphi'/db = a w (2 + t (1 - 2 s))
//
// Beyond |t| = 1000 w is 0 in either precision: t is cut there, so that no product is 0 times
// infinity.
struct LipSwish {
  Real a, t, s, w;

  LipSwish(Real at, Real b) : a(at), t(std::clamp(b * at, Real(-1000), Real(1000))) {
    s = vector_math::sigmoid(t);
    w = s * vector_math::sigmoid(-t);
  }
  static constexpr Real scale = Real(1) / Real(1.1);
  Real value() const { return scale * (a * s); }
  Real slope() const { return scale * (s + t * w); }
  Real curvature_over_b() const { return scale * w * (2 + t * (1 - 2 * s)); }
  Real value_by_b() const { return scale * (a * (a * w)); }
};

std::array<Var, 2> lipswish_and_slope(const Var& a, const Var& b) {
  const Tensor A = a.value();
  Tensor value = Tensor::empty(A.shape()), slope = Tensor::empty(A.shape());
  const Real B = b.item();
  for_each_element(A.size(),
                   [B, p = A.data(), v = value.mutable_data(), s = slope.mutable_data()](Index i) {
                     const LipSwish at(p[i], B);
                     v[i] = at.value();
                     s[i] = at.slope();
                   });
  const auto rule = [A, B](const Tensor& gv, const Tensor& gs) {
    Tensor ga = Tensor::empty(A.shape()), gb = Tensor::empty(A.shape());
    for_each_element(A.size(), [B, p = A.data(), gv = gv.data(), gs = gs.data(),
                                ga = ga.mutable_data(), gb = gb.mutable_data()](Index i) {
      const LipSwish at(p[i], B);
      const Real curvature_over_b = at.curvature_over_b();
      ga[i] = gv[i] * at.slope() + gs[i] * (B * curvature_over_b);
      gb[i] = gv[i] * at.value_by_b() + gs[i] * (p[i] * curvature_over_b);
    });
    return grads(ga, sum(gb).reshape({1}));
  };
  return record("lipswish", {value, slope}, joint_grad({a, b}, rule));
}

}  // namespace

Contraction::Contraction(Kind kind) : kind_(kind) {
  if (kind == Kind::lipswish) beta_ = &add_parameter("beta", Tensor::full({1}, 0.5));
}

std::array<Var, 2> Contraction::operator()(const Var& a) const {
  switch (kind_) {
    case Kind::lipswish:
      return lipswish_and_slope(a, softplus(*beta_));
    case Kind::elu:
      return value_and_slope("elu", a, elu_at);
    case Kind::tanh:
      return value_and_slope("tanh", a, tanh_at);
    case Kind::sin:
      return value_and_slope("sin", a, sin_at);
  }
  fail("contraction", "no activation has the number ", static_cast<int>(kind_));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

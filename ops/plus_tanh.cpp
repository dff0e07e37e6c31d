#include "backflow/ops/plus_tanh.h"

#include <algorithm>
#include <cmath>

#include "backflow/ops/increasing.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"
#include "backflow/ops/vector_math.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// k, which softplus or sigmoid may have left without a digit.
template <class T>
[[gnu::always_inline]] inline T floored(T k) {
  constexpr T least = T(1e-30);
  return k < least ? least : k;
}

// 1 / cosh(y)^2 = tanh'(y). Far out 1 - tanh(y)^2 would have no digit left.
template <class T>
[[gnu::always_inline]] inline T sech_squared(T y) {
  const T e = vector_math::exp_of_minus(2 * y), one_plus = 1 + e;
  return 4 * e / (one_plus * one_plus);
}

// 1 + (k - 1) h for t = tanh(y) and h = tanh'(y).
template <class T>
[[gnu::always_inline]] inline T slope(T t, T h, T k) {
  return t * t + floored(k) * h;
}

// y - tanh(y). Near 0, where the two agree, it is what tanh's continued fraction takes off y.
double minus_tanh(double y) {
  using C = vector_math::Constants<double>;
  const double z = y * y;
  const double small =
      y * z * vector_math::polynomial(z, C::tanh_p) / vector_math::polynomial(z, C::tanh_q);
  return std::abs(y) < 0.625 ? small : y - vector_math::tanh(y);
}

// Newton's method alone, for many at once, unless the slope is nearly 0 somewhere. Then the
// interval counts that tanh leaves: |y - r| <= |k - 1|.
Tensor root(const char* flow, const Tensor& r, double given_k) {
  const double k = floored(given_k), reach = std::abs(k - 1);
  const auto s = [k](double y) -> ValueAndSlope {
    const double t = vector_math::tanh(y);
    return {minus_tanh(y) + k * t, slope(t, sech_squared(y), k)};
  };
  if (k > 1. / 16) return invert_increasing(flow, r, {std::min(1.0, k), std::max(1.0, k)}, s);
  const auto interval = [reach, r = r.data()](Index i) {
    const double middle = std::isnan(r[i]) ? 0 : r[i];
    return Interval{middle - reach, middle + reach};
  };
  return invert_each(flow, r, interval, [s](Index, double y) { return s(y); });
}

Index examples_per_chunk(Index M) { return elements_per_chunk / std::max<Index>(1, M) + 1; }

void check_shapes(const char* op, const Tensor& y, const Tensor& k) {
  if (y.rank() != 2 || !(k.shape() == Shape{y.size(0)}))
    fail(op, "(M, B) and k (M) expected, the shapes are ", y.shape(), " and ", k.shape());
}

void add_multiple(Real* sum, Real factor, const Real* row, Index count) {
  for (Index b = 0; b < count; ++b) sum[b] += factor * row[b];
}

// Row i needs the tanh of the rows below it.
Tensor back_substituted(const char* flow, const Tensor& r, const Tensor& k, const Tensor& C) {
  const Index M = r.size(0), B = r.size(1);
  Tensor y = Tensor::empty({M, B}), t = Tensor::empty({M, B});
  for (Index i = M - 1; i >= 0; --i) {
    Tensor target = slice(r, 0, i, i + 1);
    for (Index j = i + 1; j < M; ++j)
      add_multiple(target.mutable_data(), -C[i * M + j], t.data() + j * B, B);
    const Tensor row = root(flow, target, k[i]);
    std::copy_n(row.data(), B, y.mutable_data() + i * B);
    std::copy_n(pointwise(row, [](Real y) { return vector_math::tanh(y); }).data(), B,
                t.mutable_data() + i * B);
  }
  return y;
}

// The gradient of r is that of y times the inverse of dr/dy = I + C diag(tanh'(y)), transposed: row
// i needs those above it.
Tensor gradient_of_r(const Tensor& g, const Tensor& y, const Tensor& k, const Tensor& C) {
  const Index M = y.size(0), B = y.size(1);
  Tensor gr = Tensor::empty({M, B});
  Real* to = gr.mutable_data();
  std::vector<Real> from_above(B);
  for (Index i = 0; i < M; ++i) {
    std::fill(from_above.begin(), from_above.end(), Real(0));
    for (Index j = 0; j < i; ++j) add_multiple(from_above.data(), C[j * M + i], to + j * B, B);
    for (Index b = 0; b < B; ++b) {
      const Real at = y[i * B + b], t = vector_math::tanh(at), h = sech_squared(at);
      to[i * B + b] = (g[i * B + b] - h * from_above[b]) / slope(t, h, k[i]);
    }
  }
  return gr;
}

// Row i of the two results, whose loops become vector instructions.
void add_unit(Index count, const Real* y, Real k, Real* t, Real* logdet) {
  for (Index b = 0; b < count; ++b) t[b] = vector_math::tanh(y[b]);
  for (Index b = 0; b < count; ++b)
    logdet[b] += vector_math::log(slope(t[b], sech_squared(y[b]), k));
}

// Row i of the gradient of y, and what adds up to that of k_i. With e = 1 + (k - 1) h and
// dh/dy = -2 t h, the derivatives of log(e) by k and y are h / e and -2 (k - 1) t h / e.
void gradient_of_unit(Index count, const Real* y, Real k, const Real* t, const Real* gt,
                      const Real* gl, Real* gy, Real* of_k) {
  for (Index b = 0; b < count; ++b) {
    const Real h = sech_squared(y[b]);
    of_k[b] = gl[b] * h / slope(t[b], h, k);
    gy[b] = gt[b] * h;
  }
  for (Index b = 0; b < count; ++b) gy[b] -= 2 * (k - 1) * t[b] * of_k[b];
}

std::array<Tensor, 2> gradients_of_units(const Tensor& Y, const Tensor& K, const Tensor& T,
                                         const Tensor& gt, const Tensor& gl) {
  const Index M = Y.size(0), B = Y.size(1);
  Tensor gy = Tensor::empty({M, B}), gk = Tensor::empty({M}), of_k = Tensor::empty({M, B});
  const auto run = [&, to = gy.mutable_data(), to_k = of_k.mutable_data()](Index begin, Index end) {
    for (Index i = 0; i < M; ++i) {
      const Index at = i * B + begin;
      gradient_of_unit(end - begin, Y.data() + at, K[i], T.data() + at, gt.data() + at,
                       gl.data() + begin, to + at, to_k + at);
    }
  };
  parallel_for(B, examples_per_chunk(M), run);
  for (Index i = 0; i < M; ++i) {
    const auto term = [row = of_k.data() + i * B](Index b) { return row[b]; };
    gk.mutable_data()[i] = static_cast<Real>(sum_in_lanes(B, term));
  }
  return grads(gy, gk);
}

}  // namespace

std::array<Var, 2> tanh_and_logdet(const Var& y, const Var& k) {
  const Tensor Y = y.value(), K = k.value();
  check_shapes("tanh_and_logdet", Y, K);
  const Index M = Y.size(0), B = Y.size(1);
  Tensor T = Tensor::empty({M, B}), L = Tensor::zeros({B});
  const auto run = [=, y = Y.data(), t = T.mutable_data(), l = L.mutable_data()](Index begin,
                                                                                 Index end) {
    for (Index i = 0; i < M; ++i)
      add_unit(end - begin, y + i * B + begin, K[i], t + i * B + begin, l + begin);
  };
  parallel_for(B, examples_per_chunk(M), run);
  return record("tanh_and_logdet", {T, L},
                joint_grad({y, k}, [Y, K, T](const Tensor& gt, const Tensor& gl) {
                  return gradients_of_units(Y, K, T, gt, gl);
                }));
}

// With 1 + tanh(a) = 2 sigmoid(2 a) all terms are positive.
Var one_plus_tanh_tanh(const Var& a, const Var& b) {
  const auto gradient = [](Real of, Real other, Real g) {
    return g * sech_squared(of) * vector_math::tanh(other);
  };
  return pointwise(
      "one_plus_tanh_tanh", a, b,
      [](Real a, Real b) {
        using vector_math::sigmoid;
        return 2 * (sigmoid(2 * a) * sigmoid(2 * b) + sigmoid(-2 * a) * sigmoid(-2 * b));
      },
      gradient, [gradient](Real a, Real b, Real g) { return gradient(b, a, g); });
}

Var solve_plus_tanh(const char* flow, const Var& r, const Var& k, const Var& C) {
  check_shapes("solve_plus_tanh", r.value(), k.value());
  const Index M = k.size();
  if (!(C.shape() == Shape{M, M}))
    fail("solve_plus_tanh", "C of ", Shape{M, M}, " expected, the shape is ", C.shape());
  const Tensor Y = back_substituted(flow, r.value(), k.value(), C.value());
  return record("solve_plus_tanh", Y,
                joint_grad({r, k, C}, [Y, K = k.value(), C = C.value()](const Tensor& g) {
                  const Index M = K.size();
                  const Tensor gr = gradient_of_r(g, Y, K, C);
                  const Tensor t = pointwise(Y, [](Real y) { return vector_math::tanh(y); });
                  const Tensor all = -matmul(gr, transposed(t));  // as if C were full
                  Tensor gk = Tensor::zeros({M}), gC = Tensor::zeros({M, M});
                  for (Index i = 0; i < M; ++i) {
                    gk.mutable_data()[i] = all[i * M + i];
                    std::copy(all.data() + i * M + i + 1, all.data() + (i + 1) * M,
                              gC.mutable_data() + i * M + i + 1);
                  }
                  return grads(gr, gk, gC);
                }));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

// Ops that treat each element alike, and the short way to write a new one:
//
//   Var exp(const Var& x) {
//     return pointwise("exp", x, [](Real x) { return vector_math::exp(x); },
//                                from_output([](Real y, Real g) { return g * y; }));
//   }
//
// (ops/vector_math.h has those functions whose loops become vector instructions.)
//
// Binary ops broadcast like NumPy's, and each input has its gradient:
//
//   Var hypot(const Var& a, const Var& b) {
//     return pointwise("hypot", a, b, [](Real a, Real b) { return std::hypot(a, b); },
//                      [](Real a, Real b, Real g) { return g * a / std::hypot(a, b); },
//                      [](Real a, Real b, Real g) { return g * b / std::hypot(a, b); });
//   }
#pragma once

#include <cmath>

#include "backflow/engine/parallel.h"
#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

// ---- Kernels on Tensors -------------------------------------------------------------------

// A line about an input that has no values: number 0 is the first.
inline void check_defined(const char* op, const Tensor& x, int input) {
  if (!x.defined()) [[unlikely]]
    fail(op, "input ", input, " is undefined: it has no values");
}

template <class F>
Tensor pointwise(const Tensor& x, F f) {
  Tensor out = Tensor::empty(x.shape());
  for_each_element(x.size(),
                   [f, y = out.mutable_data(), p = x.data()](Index i) { y[i] = f(p[i]); });
  return out;
}

// How the flat index of a broadcast result maps to its two operands: rows of `inner` elements,
// along which an operand's step is 0 or 1, and an offset per row.
struct BroadcastPlan {
  BroadcastPlan(const char* op, const Shape& a, const Shape& b);
  Shape shape;
  Index inner = 1, rows = 1;
  Index step_a = 1, step_b = 1;
  struct Offsets {
    Index a, b;
  };
  Offsets offsets(Index row) const;

 private:
  Shape outer_;
  Strides strides_a_{}, strides_b_{};
};

// Calls body(i, p, q, n, step_p, step_q) for rows of the result: n elements from number i on, made
// of p[0], p[step_p], ... and q[0], q[step_q], ... The steps are constants, for loops to vectorize.
template <class Body>
void for_each_row(const BroadcastPlan& plan, const Tensor& a, const Tensor& b, Body body) {
  if (plan.shape.size() == 0) return;
  const auto with_steps = [&](auto step_p, auto step_q) {
    const auto row_piece = [&plan, body, p = a.data(), q = b.data(), step_p, step_q](
                               Index row, Index first, Index n) {
      const auto [offset_p, offset_q] = plan.offsets(row);
      body(row * plan.inner + first, p + offset_p + first * step_p, q + offset_q + first * step_q,
           n, step_p, step_q);
    };
    if (plan.rows == 1) {
      parallel_for(plan.inner, elements_per_chunk,
                   [row_piece](Index begin, Index end) { row_piece(0, begin, end - begin); });
    } else {
      parallel_for(plan.rows, std::max<Index>(1, elements_per_chunk / plan.inner),
                   [row_piece, n = plan.inner](Index row, Index end) {
                     for (; row < end; ++row) row_piece(row, 0, n);
                   });
    }
  };
  constexpr std::integral_constant<Index, 0> fixed;
  constexpr std::integral_constant<Index, 1> moving;
  if (plan.step_a && plan.step_b) with_steps(moving, moving);
  if (plan.step_a && !plan.step_b) with_steps(moving, fixed);
  if (!plan.step_a && plan.step_b) with_steps(fixed, moving);
  if (!plan.step_a && !plan.step_b) with_steps(fixed, fixed);
}

template <class F>
Tensor pointwise(const char* op, const Tensor& a, const Tensor& b, F f) {
  check_defined(op, a, 0);
  check_defined(op, b, 1);
  const BroadcastPlan plan(op, a.shape(), b.shape());
  Tensor out = Tensor::empty(plan.shape);
  const auto run = [f, y = out.mutable_data()](Index at, const Real* p, const Real* q, Index n,
                                               auto step_p, auto step_q) {
    const F copy = f;  // what it has captured stays in registers, and the loop without a branch
    for (Index i = 0; i < n; ++i) y[at + i] = copy(p[i * step_p], q[i * step_q]);
  };
  for_each_row(plan, a, b, run);
  return out;
}

// f(a, b, g) where g has the shape that a and b are broadcast to.
template <class F>
Tensor pointwise(const char* op, const Tensor& a, const Tensor& b, const Tensor& g, F f) {
  const BroadcastPlan plan(op, a.shape(), b.shape());
  Tensor out = Tensor::empty(plan.shape);
  const auto run = [f, y = out.mutable_data(), r = g.data()](Index at, const Real* p, const Real* q,
                                                             Index n, auto step_p, auto step_q) {
    const F copy = f;
    for (Index i = 0; i < n; ++i) y[at + i] = copy(p[i * step_p], q[i * step_q], r[at + i]);
  };
  for_each_row(plan, a, b, run);
  return out;
}

// ---- A unary op from two lambdas ------------------------------------------------------------

// The rule for the gradient says what must be kept for it: the output, or the input.
template <class F>
struct FromOutput {
  F rule;
};
template <class F>
struct FromInput {
  F rule;
};
template <class F>
FromOutput<F> from_output(F rule) {  // rule(y, g)
  return {rule};
}
template <class F>
FromInput<F> from_input(F rule) {  // rule(x, g)
  return {rule};
}

template <class F, class G>
Var pointwise(OpName op, const Var& x, F f, FromOutput<G> gradient) {
  check_defined(op, x.value(), 0);
  const Tensor y = pointwise(x.value(), f);
  return record(op, y, grad(x, [op, y, rule = gradient.rule](const Tensor& g) {
                  return pointwise(op, y, g, rule);
                }));
}
template <class F, class G>
Var pointwise(OpName op, const Var& x, F f, FromInput<G> gradient) {
  check_defined(op, x.value(), 0);
  return record(op, pointwise(x.value(), f),
                grad(x, [op, X = x.value(), rule = gradient.rule](const Tensor& g) {
                  return pointwise(op, X, g, rule);
                }));
}

// ---- A binary op from its value and two gradients --------------------------------------------

// An input's gradient is made from both inputs, rule(a, b, g), or from the other one alone,
// rule(other, g): then only that one is kept for it.
template <class G>
auto binary_rule(OpName op, const Tensor& a, const Tensor& b, const Tensor& other, G rule) {
  if constexpr (std::invocable<G, Real, Real>) {
    return [op, other, rule](const Tensor& g) { return pointwise(op, other, g, rule); };
  } else {
    return [op, a, b, rule](const Tensor& g) { return pointwise(op, a, b, g, rule); };
  }
}

template <class F, class Ga, class Gb>
Var pointwise(OpName op, const Var& a, const Var& b, F f, Ga gradient_of_a, Gb gradient_of_b) {
  const Tensor A = a.value(), B = b.value();
  return record(op, pointwise(op, A, B, f), grad(a, binary_rule(op, A, B, B, gradient_of_a)),
                grad(b, binary_rule(op, A, B, A, gradient_of_b)));
}

// ---- The ops ----------------------------------------------------------------------------------

Tensor operator+(const Tensor& a, const Tensor& b);
Tensor operator-(const Tensor& a, const Tensor& b);
Tensor operator*(const Tensor& a, const Tensor& b);
Tensor operator/(const Tensor& a, const Tensor& b);
Tensor operator-(const Tensor& x);

Var operator+(const Var& a, const Var& b);
Var operator-(const Var& a, const Var& b);
Var operator*(const Var& a, const Var& b);
Var operator/(const Var& a, const Var& b);
Var operator-(const Var& x);

Var exp(const Var& x);
Var log(const Var& x);
Var log1p(const Var& x);
Var sqrt(const Var& x);
Var square(const Var& x);
Var abs(const Var& x);                   // gradient 0 at 0
Var pow(const Var& x, double exponent);  // of exponent 0: 1, with gradient 0 whatever g is
Var tanh(const Var& x);
Var sigmoid(const Var& x);
Var log_sigmoid(const Var& x);  // log(sigmoid(x)), finite for every finite x
Var softplus(const Var& x);     // log(1 + exp(x)), finite for every finite x
Var relu(const Var& x);
Var leaky_relu(const Var& x, double slope = 0.01);
// Gradient 1 inside and on the ends, else 0. Fails unless low <= high.
Var clamp(const Var& x, double low, double high);
// condition != 0 ? a : b, all three broadcast; the condition gets no gradient.
//
// The branch that is not taken gets the gradient 0, and hands it on: where its own derivative is
// infinite, 0 times infinity is NaN, which reaches x. So where(mask, sqrt(x), 0) has the gradient
// NaN at x = 0, taken or not. The safe way makes the branch's input harmless before the branch is
// computed: where(mask, sqrt(where(mask, x, 1)), 0).
Var where(const Tensor& condition, const Var& a, const Var& b);

}  // namespace backflow::inline BACKFLOW_PRECISION

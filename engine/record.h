// The only door into the graph. An op is a value, computed in any way, and a rule for each input:
// a closure that makes the input's gradient from that of the op's output, when backward() calls it.
// (The gradient of a value is the derivative, by it, of the scalar that backward() starts from.)
// There are four forms.
//
// One input: the rule gets the gradient g of the op's output and returns that of the input.
//
//   const Tensor X = x.value();
//   return record("square", X * X, grad(x, [X](const Tensor& g) { return 2.0 * g * X; }));
//
// Several inputs have a grad() each, or one joint_grad() if their gradients share work:
//
//   return record("solve", X, joint_grad({A, B}, [lu, X](const Tensor& g) {
//                   const Tensor gB = lu.solve_transposed(g);
//                   return grads(-matmul(gB, transposed(X)), gB);
//                 }));
//
// Two outputs, or three: the rule gets the gradient of each. The gradient of an output that nobody
// used arrives as zeros.
//
//   auto [s, c] = record("sin_cos", {S, C}, grad(x, [S, C](const Tensor& gs, const Tensor& gc) {
//                          return gs * C - gc * S;
//                        }));
//
// Adding into place: a value that several ops use gets the sum of the gradients they return. A
// kernel that can add to what is there, as products in BLAS can, saves a tensor: sum = beta * sum +
// g B^T.
//
//   grad(a, [B](const Tensor& g, Accumulator& into) {
//     into.add_in_place([&](Tensor& sum, Real beta) { matmul_into(sum, beta, g, transposed(B)); });
//   })
//
// A rule captures Tensors, never Vars. It is dropped at once when none of its inputs needs a
// gradient, and with it all that it captured. A gradient has its input's shape, or the shape of one
// of the op's outputs: then the engine sums it over the axes along which the input was broadcast.
// An undefined Tensor stands for no gradient.
#pragma once

#include <array>
#include <concepts>

#include "backflow/engine/node.h"

namespace backflow::inline BACKFLOW_PRECISION {

// What a rule for several inputs returns: the gradient of each.
template <class... Gradients>
std::array<Tensor, sizeof...(Gradients)> grads(Gradients&&... g) {
  return {Tensor(std::forward<Gradients>(g))...};
}

// The rule of one input, and of several.
template <class F>
Edge grad(const Var& x, F rule);
template <class F>
Edge joint_grad(std::span<const Var> inputs, F rule);
template <class F>
Edge joint_grad(std::initializer_list<Var> inputs, F rule) {
  return joint_grad(std::span<const Var>(inputs.begin(), inputs.size()), std::move(rule));
}

// An op with one output, from grad(...) and joint_grad(...) for its inputs in order. Their number
// may be known only at run time: then they are moved out of a list.
Var record(OpName op, Tensor value, std::span<Edge> edges);
template <std::same_as<Edge>... Edges>
Var record(OpName op, Tensor value, Edges... edges) {
  std::array<Edge, sizeof...(edges)> all{std::move(edges)...};
  return record(op, std::move(value), all);
}
// An op with several outputs, in braces.
template <std::size_t N, std::same_as<Edge>... Edges>
std::array<Var, N> record(OpName op, const Tensor (&values)[N], Edges... edges) {
  std::array<Edge, sizeof...(edges)> all{std::move(edges)...};
  const NodePtr node = make_node(op, values, all);
  std::array<Var, N> vars;
  for (std::size_t i = 0; i < N; ++i) vars[i] = Var(values[i], node, static_cast<int>(i));
  return vars;
}

// The override: anybody can give any value any gradient, without touching what computed it.
//
//   Var y = override_gradient("round", round(X), {x}, [](const Tensor& g) { return g; });
//   auto [y, logdet] = override_gradient("f", {Y, L}, {x, W},
//       [=](const Tensor& gy, const Tensor& gl) { return grads(gx, gW); });
//
// `values` are Tensors however computed; `inputs` are the Vars that receive a gradient; the rule
// gets one gradient per value and returns one per input (see joint_grad). First-order only: the
// rule computes on Tensors, so a gradient has no gradient.
template <std::size_t N, class F>
std::array<Var, N> override_gradient(OpName op, const Tensor (&values)[N],
                                     std::initializer_list<Var> inputs, F rule) {
  return record(op, values, joint_grad(inputs, std::move(rule)));
}
template <class F>
Var override_gradient(OpName op, Tensor value, std::initializer_list<Var> inputs, F rule) {
  if (std::is_invocable_r_v<Tensor, const F&, const Tensor&> && inputs.size() != 1)
    fail(op, "the rule gives 1 gradient for ", inputs.size(), " inputs; return grads(...)");
  return record(op, std::move(value), joint_grad(inputs, std::move(rule)));
}
// The same for counts that are known only at run time: rule(std::span<const Tensor> g) gets all the
// gradients and returns a std::vector<Tensor>.
template <class F>
std::vector<Var> override_gradient(OpName op, const std::vector<Tensor>& values,
                                   std::span<const Var> inputs, F rule) {
  Edge edge = joint_grad(inputs, std::move(rule));
  const NodePtr node = make_node(op, values, {&edge, 1});
  std::vector<Var> vars;
  for (const Tensor& value : values)
    vars.push_back(Var(value, node, static_cast<int>(vars.size())));
  return vars;
}

// ---- How a rule is kept: an op's author need not read on ------------------------------------

// How many gradients the rule takes, one for each output of its op.
template <class F, class G = const Tensor&>
constexpr int gradients_taken() {
  if (std::invocable<const F&, G>) return 1;
  if (std::invocable<const F&, G, G>) return 2;
  return std::invocable<const F&, G, G, G> ? 3 : Edge::any;
}

// Adds what a rule returned: one gradient per input.
void add_gradients(std::span<const Tensor> g, std::span<Accumulator* const> into);
inline void add_gradients(const Tensor& g, std::span<Accumulator* const> into) {
  add_gradients({&g, 1}, into);
}

template <class F>
Edge joint_grad(std::span<const Var> inputs, F rule) {
  constexpr int taken = gradients_taken<F>();
  Edge edge(inputs, taken);
  if (edge.inputs.empty()) return edge;
  edge.rule = [rule = std::move(rule)](std::span<const Tensor> g,
                                       std::span<Accumulator* const> into) {
    if constexpr (taken == 1) {
      add_gradients(rule(g[0]), into);
    } else if constexpr (taken == 2) {
      add_gradients(rule(g[0], g[1]), into);
    } else if constexpr (taken == 3) {
      add_gradients(rule(g[0], g[1], g[2]), into);
    } else {
      add_gradients(rule(g), into);
    }
  };
  return edge;
}

template <class F>
Edge grad(const Var& x, F rule) {
  if constexpr (std::invocable<const F&, const Tensor&, Accumulator&>) {
    Edge edge({&x, 1}, 1);
    if (!edge.inputs.empty())
      edge.rule = [rule = std::move(rule)](auto g, auto into) { rule(g[0], *into[0]); };
    return edge;
  } else {
    return joint_grad({&x, 1}, std::move(rule));
  }
}

}  // namespace backflow::inline BACKFLOW_PRECISION

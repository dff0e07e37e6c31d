// The only door into the graph: an op is a value and one closure per input.
//
//   Var square(const Var& x) {
//     const Tensor X = x.value();
//     return record("square", X * X, grad(x, [X](const Tensor& g) { return 2.0 * g * X; }));
//   }
//
// A closure gets the gradient g of the op's output and returns that of its input. It captures
// Tensors, never Vars. grad() drops it at once when its input needs no gradient, and with it all
// that it captured. Un-broadcasting is the engine's work: a closure may return the larger shape.
#pragma once

#include <array>
#include <concepts>
#include <functional>
#include <optional>
#include <span>

#include "engine/few.h"
#include "engine/var.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Where the contributions to one gradient meet: the first is borrowed, the second allocates the
// sum, later ones are added in place. (Tensor's copy-on-write is what makes borrowing safe.)
class Accumulator {
 public:
  Accumulator() = default;  // nobody wants this gradient
  explicit Accumulator(const Shape& shape) : shape_(shape), wanted_(true) {}

  bool wanted() const { return wanted_; }
  void add(Tensor g);  // of our shape or of one that our shape broadcasts to

  // For kernels that can add into their output (BLAS' beta): product(sum, beta) must compute
  // sum = beta * sum + contribution, with beta 0 (sum uninitialised) or 1.
  template <class Product>
  void add_product(Product product) {
    if (!wanted_) return;
    const bool first = !sum_.defined();
    if (first) sum_ = Tensor::empty(shape_);
    product(sum_, first ? Real(0) : Real(1));
  }

  const Tensor& sum() const { return sum_; }  // undefined until something was added
  Tensor take();                              // zeros if nothing was added

 private:
  Shape shape_;
  bool wanted_ = false;
  Tensor sum_;
};

// What backward() calls: the gradients of the node's outputs, and where to add those of the inputs.
using Rule = std::function<void(std::span<const Tensor> g, std::span<Accumulator* const> into)>;

struct Edge {
  struct Input {
    NodePtr node;  // null when this input needs no gradient
    int output = 0;
  };
  Few<Input> inputs;  // empty: nobody needs what the rule computes, and it was dropped
  Rule rule;
};

struct Node {
  const char* op;
  std::uint64_t number;     // creation order: an input's number is smaller than its user's
  Few<Shape> outputs;       // the shape of each output's gradient
  std::vector<Edge> edges;  // none: a leaf
  bool released = false;    // backward() has used the edges up

  Node(const char* op, Few<Shape> outputs, std::vector<Edge> edges);
  ~Node();  // iterative: a chain of a million nodes must not overflow the stack
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
};

// The value(s) of an op as Var(s), with the history that the edges describe. Untemplated core.
std::vector<Var> record_node(const char* op, std::vector<Tensor> values, std::vector<Edge> edges);
Var record_node(const char* op, Tensor value, std::vector<Edge> edges);
Edge make_edge(std::span<const Var> inputs);

// A closure is written as f(g), f(g0, g1), f(g0, g1, g2) or f(span of all g), each optionally with
// the accumulators behind; it is called the way it is written.
template <class F, class... Into>
concept Callable = std::invocable<F&, const Tensor&, Into...> ||
    std::invocable<F&, const Tensor&, const Tensor&, Into...> ||
    std::invocable<F&, const Tensor&, const Tensor&, const Tensor&, Into...> ||
    std::invocable<F&, std::span<const Tensor>, Into...>;

template <class F, class... Into>
requires Callable<F, Into...>
decltype(auto) call_rule(F& f, std::span<const Tensor> g, Into&&... into) {
  using T = const Tensor&;
  if constexpr (std::invocable<F&, T, Into...>) {
    return f(g[0], into...);
  } else if constexpr (std::invocable<F&, T, T, Into...>) {
    return f(g[0], g[1], into...);
  } else if constexpr (std::invocable<F&, T, T, T, Into...>) {
    return f(g[0], g[1], g[2], into...);
  } else {
    return f(g, into...);
  }
}

// The gradient of one input. Tensor f(g...), or void f(g..., Accumulator& into).
template <class F>
Edge grad(const Var& x, F f) {
  Edge edge = make_edge({&x, 1});
  if (edge.inputs.empty()) return edge;
  edge.rule = [f = std::move(f)](std::span<const Tensor> g, std::span<Accumulator* const> into) {
    if constexpr (Callable<const F>) {
      into[0]->add(call_rule(f, g));
    } else {
      call_rule(f, g, *into[0]);
    }
  };
  return edge;
}

// The gradients of several inputs that share work: f(g...) returns grads(gx, gy, ...), or
// void f(g..., std::span<Accumulator* const> into) adds them; an input that needs no gradient has
// an accumulator that is not wanted(). An undefined Tensor stands for "no gradient".
template <class F>
Edge joint_grad(std::span<const Var> inputs, F f) {
  Edge edge = make_edge(inputs);
  if (edge.inputs.empty()) return edge;
  edge.rule = [f = std::move(f)](std::span<const Tensor> g, std::span<Accumulator* const> into) {
    if constexpr (Callable<const F, decltype(into)>) {
      call_rule(f, g, into);
    } else {
      const auto gradients = call_rule(f, g);
      if (std::size(gradients) != into.size())
        fail("backward", "a rule gave ", std::size(gradients), " gradients for ", into.size(),
             " inputs");
      for (std::size_t i = 0; i < into.size(); ++i) into[i]->add(gradients[i]);
    }
  };
  return edge;
}
template <class F>
Edge joint_grad(std::initializer_list<Var> inputs, F f) {
  return joint_grad(std::span<const Var>(inputs.begin(), inputs.size()), std::move(f));
}

template <class... Gradients>
std::array<Tensor, sizeof...(Gradients)> grads(Gradients&&... g) {
  return {Tensor(std::forward<Gradients>(g))...};
}

template <std::same_as<Edge>... Edges>
std::vector<Edge> edge_list(Edges&&... edges) {
  std::vector<Edge> list;
  list.reserve(sizeof...(edges));
  ((edges.inputs.empty() ? void() : list.push_back(std::move(edges))), ...);
  return list;
}

// One output, or several.
template <class... Edges>
Var record(const char* op, Tensor value, Edges... edges) {
  return record_node(op, std::move(value), edge_list(std::move(edges)...));
}
template <std::size_t N, class... Edges>
std::array<Var, N> record(const char* op, std::array<Tensor, N> values, Edges... edges) {
  auto vars = record_node(op, std::vector<Tensor>(values.begin(), values.end()),
                          edge_list(std::move(edges)...));
  std::array<Var, N> out;
  std::move(vars.begin(), vars.end(), out.begin());
  return out;
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
std::array<Var, N> override_gradient(const char* op, const Tensor (&values)[N],
                                     std::initializer_list<Var> inputs, F rule) {
  return record(op, std::to_array(values), joint_grad(inputs, std::move(rule)));
}
template <class F>
Var override_gradient(const char* op, Tensor value, std::initializer_list<Var> inputs, F rule) {
  if constexpr (std::is_invocable_r_v<Tensor, F&, const Tensor&>) {
    if (inputs.size() != 1)
      fail(op, "the rule gives 1 gradient for ", inputs.size(), " inputs; return grads(...)");
    return record(op, std::move(value), grad(*inputs.begin(), std::move(rule)));
  } else {
    return record(op, std::move(value), joint_grad(inputs, std::move(rule)));
  }
}
// Counts known only at run time: rule(std::span<const Tensor> g) returns std::vector<Tensor>.
template <class F>
std::vector<Var> override_gradient(const char* op, std::vector<Tensor> values,
                                   std::span<const Var> inputs, F rule) {
  return record_node(op, std::move(values), edge_list(joint_grad(inputs, std::move(rule))));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

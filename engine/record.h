// The only door into the graph: an op is a value and one closure per input.
//
//   Var square(const Var& x) {
//     const Tensor X = x.value();
//     return record("square", X * X, grad(x, [X](const Tensor& g) { return 2.0 * g * X; }));
//   }
//
// A closure gets the gradient g of the op's output and returns that of its input. It captures
// Tensors, never Vars. grad() drops it at once when its input needs no gradient, and with it all
// that it captured. It returns a gradient of its input's shape, or of the shape of one of the op's
// outputs: un-broadcasting that is the engine's work.
#pragma once

#include <array>
#include <concepts>
#include <functional>
#include <optional>
#include <span>

#include "backflow/engine/few.h"
#include "backflow/engine/var.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The name of an op: a string literal, of which a node keeps the address alone. A name in a buffer,
// which may be gone when a graph is drawn or an error reported, does not compile.
class OpName {
 public:
  template <std::size_t N>
  consteval OpName(const char (&literal)[N]) : text_(literal) {
    for (char c : literal) static_cast<void>(c);  // reads it, as only a constant can be read here
  }
  operator const char*() const { return text_; }
  operator std::string() const { return text_; }
  const char* text() const { return text_; }

 private:
  const char* text_;
};

struct Node;

// Where the contributions to one gradient meet. The first is borrowed: the sum is that very Tensor.
// The second is added into its buffer if nobody else holds it, and otherwise into a new one, so
// that a gradient that others share is never written; every later one is added in place.
class Accumulator {
 public:
  Accumulator() = default;  // nobody wants this gradient
  explicit Accumulator(const Shape& shape) : shape_(shape), wanted_(true) {}

  bool wanted() const { return wanted_; }
  // Of our shape, or of one to be un-broadcast: from the rule of an op the shape of one of the op's
  // outputs, else any that our shape broadcasts to. Undefined: no gradient, nothing is added.
  void add(Tensor g);

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

  // What comes next is the gradient of this input of this op: for messages, and to check its shape.
  void expect_from(const Node& op, int input) { op_ = &op, input_ = input; }
  const Node* expected_from() const { return op_; }

 private:
  void check_contribution(const Shape& g) const;

  Shape shape_;
  bool wanted_ = false;
  int input_ = 0;
  const Node* op_ = nullptr;
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
  int first_input = 0;  // which of the op's inputs these are: from this one on,
  int input_count = 0;  // so many, whether or not they need a gradient
  int undefined = -1;   // one of them that is no tensor
  int takes = any;      // how many outputs' gradients the rule takes

  static constexpr int any = 0;
};

struct Node {
  OpName op;
  std::uint64_t number;     // creation order: an input's number is smaller than its user's
  Few<Shape> outputs;       // the shape of each output's gradient
  std::vector<Edge> edges;  // none: a leaf, or released
  bool released = false;    // backward() has used the edges up

  Node(OpName op, Few<Shape> outputs, std::vector<Edge> edges);
  bool is_leaf() const { return edges.empty() && !released; }
  ~Node();  // iterative: a chain of a million nodes must not overflow the stack
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
};

// The value(s) of an op as Var(s), with the history that the edges describe. Untemplated core.
std::vector<Var> record_node(OpName op, std::vector<Tensor> values, std::vector<Edge> edges);
Var record_node(OpName op, Tensor value, std::vector<Edge> edges);
Edge make_edge(std::span<const Var> inputs);
// For an edge that does not fit an op with so many outputs.
[[noreturn]] void fail_edge(OpName op, const Edge& edge, std::size_t outputs);
// Adds what a joint rule returned: one gradient per input.
void add_gradients(std::span<const Tensor> g, std::span<Accumulator* const> into);

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

// How many gradients call_rule() hands to f.
template <class F, class... Into>
constexpr int gradients_taken() {
  using T = const Tensor&;
  if constexpr (std::invocable<F&, T, Into...>) return 1;
  if constexpr (std::invocable<F&, T, T, Into...>) return 2;
  if constexpr (std::invocable<F&, T, T, T, Into...>) return 3;
  return Edge::any;
}

// The gradient of one input. Tensor f(g...), or void f(g..., Accumulator& into).
template <class F>
Edge grad(const Var& x, F f) {
  Edge edge = make_edge({&x, 1});
  edge.takes =
      Callable<const F> ? gradients_taken<const F>() : gradients_taken<const F, Accumulator&>();
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
  using Into = std::span<Accumulator* const>;
  Edge edge = make_edge(inputs);
  edge.takes =
      Callable<const F, Into> ? gradients_taken<const F, Into>() : gradients_taken<const F>();
  if (edge.inputs.empty()) return edge;
  edge.rule = [f = std::move(f)](std::span<const Tensor> g, Into into) {
    if constexpr (Callable<const F, Into>) {
      call_rule(f, g, into);
    } else {
      add_gradients(call_rule(f, g), into);
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

// The edges of an op with so many outputs that somebody needs, in the order of its inputs.
template <std::same_as<Edge>... Edges>
std::vector<Edge> edge_list(OpName op, std::size_t outputs, Edges&&... edges) {
  std::vector<Edge> list;
  list.reserve(sizeof...(edges));
  int input = 0;
  [[maybe_unused]] const auto append = [&](Edge& edge) {
    edge.first_input = std::exchange(input, input + edge.input_count);
    const bool fits = edge.takes == Edge::any || edge.takes == static_cast<int>(outputs);
    if (edge.undefined >= 0 || !fits) [[unlikely]]
      fail_edge(op, edge, outputs);
    if (!edge.inputs.empty()) list.push_back(std::move(edge));
  };
  (append(edges), ...);
  return list;
}

// One output, or several.
template <class... Edges>
Var record(OpName op, Tensor value, Edges... edges) {
  return record_node(op, std::move(value), edge_list(op, 1, std::move(edges)...));
}
template <std::size_t N, class... Edges>
std::array<Var, N> record(OpName op, std::array<Tensor, N> values, Edges... edges) {
  auto vars = record_node(op, std::vector<Tensor>(values.begin(), values.end()),
                          edge_list(op, N, std::move(edges)...));
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
std::array<Var, N> override_gradient(OpName op, const Tensor (&values)[N],
                                     std::initializer_list<Var> inputs, F rule) {
  return record(op, std::to_array(values), joint_grad(inputs, std::move(rule)));
}
template <class F>
Var override_gradient(OpName op, Tensor value, std::initializer_list<Var> inputs, F rule) {
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
std::vector<Var> override_gradient(OpName op, std::vector<Tensor> values,
                                   std::span<const Var> inputs, F rule) {
  std::vector<Edge> edges = edge_list(op, values.size(), joint_grad(inputs, std::move(rule)));
  return record_node(op, std::move(values), std::move(edges));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

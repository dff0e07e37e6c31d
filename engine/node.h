// What the graph is made of. To write an op, record.h is enough; to read backward.cpp, this is
// needed.
//
// An op with an input that needs a gradient leaves a Node: the op's name, a number, and an Edge for
// each rule. A rule computes the gradients of some of the op's inputs from the gradients of all its
// outputs; the edge says which nodes those inputs came from. A node that never had edges is a leaf.
#pragma once

#include <functional>
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

// The gradient of one value while it is added up: each op that used the value contributes. The
// first contribution is borrowed: the sum is that very Tensor. The second is added into its buffer
// if nobody else holds it, and otherwise into a new one, so that a gradient that others share is
// never written; every later one is added in place.
class Accumulator {
 public:
  Accumulator() = default;
  explicit Accumulator(const Shape& shape) : shape_(shape) {}

  // Adds g, after summing it to our shape where that was broadcast. From a rule, g has our shape or
  // that of one of its op's outputs; else any that ours broadcasts to. An undefined g adds nothing.
  void add(Tensor g);

  // For kernels that can add to what is there, as products in BLAS can: kernel(sum, beta) computes
  // sum = beta * sum + contribution, with beta 0 (then sum is uninitialised) or 1.
  template <class Kernel>
  void add_in_place(Kernel kernel) {
    const bool first = !sum_.defined();
    if (first) sum_ = Tensor::empty(shape_);
    kernel(sum_, first ? Real(0) : Real(1));
  }

  const Tensor& sum() const { return sum_; }  // undefined until something was added
  Tensor take();                              // zeros if nothing was added

  // The next contributions are the gradient of this input of this op: messages name them, and the
  // shapes of the op's outputs are checked against.
  void expect_from(const Node& op, int input) { op_ = &op, input_ = input; }
  const Node& expected_from() const { return *op_; }

 private:
  void check_contribution(const Shape& g) const;

  Shape shape_;
  int input_ = 0;
  const Node* op_ = nullptr;
  Tensor sum_;
};

// A rule as the engine keeps it: it gets the gradients of the op's outputs, and adds those of the
// edge's inputs. An input that needs no gradient has a null in the place of an accumulator.
using Rule = std::function<void(std::span<const Tensor> g, std::span<Accumulator* const> into)>;

struct Edge {
  struct Input {
    NodePtr node;  // null when this input needs no gradient
    int output = 0;
  };
  Few<Input> inputs;  // empty if none of them needs a gradient; then there is no rule
  Rule rule;
  // What is checked when the op is recorded: these inputs are the op's inputs first_input,
  // first_input + 1, ..., input_count of them in all. Number `undefined` among them has no values.
  // The rule takes the gradients of so many outputs, and the op must have as many.
  int first_input = 0;
  int input_count = 0;
  int undefined = -1;  // none
  int takes = any;

  static constexpr int any = 0;

  Edge() = default;
  Edge(std::span<const Var> of, int takes);
};

struct Node {
  OpName op;
  std::uint64_t number;     // nodes are counted as they are made: an input's is the smaller one
  Few<Shape> outputs;       // the shape of each output, and of its gradient
  std::vector<Edge> edges;  // a leaf has none, and neither has a released node
  bool released = false;    // backward() has run the rules, and freed them with what they captured

  Node(OpName op, Few<Shape> outputs, std::vector<Edge> edges);
  bool is_leaf() const { return edges.empty() && !released; }
  ~Node();  // iterative: a chain of a million nodes must not overflow the stack
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
};

// The node of an op with these outputs, or null if none of its inputs needs a gradient. Moves the
// edges out of their list. Fails for a rule that takes the gradients of another number of outputs,
// and for inputs and outputs that are undefined.
NodePtr make_node(OpName op, std::span<const Tensor> outputs, std::span<Edge> edges);

}  // namespace backflow::inline BACKFLOW_PRECISION

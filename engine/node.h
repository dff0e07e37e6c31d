// What the graph is made of. Who writes an op needs record.h alone; who reads the sweep needs this.
//
// An op that somebody may differentiate leaves a Node: its name, its number, and an Edge for each
// of its rules. A rule computes gradients of some of the op's inputs from the gradients of all its
// outputs; its edge says which nodes made those inputs. A node without edges is a leaf.
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

// Where the contributions to one gradient meet, for a value may be used by several ops. The first
// contribution is borrowed: the sum is that very Tensor. The second is added into its buffer if
// nobody else holds it, and otherwise into a new one, so that a gradient that others share is never
// written; every later one is added in place.
class Accumulator {
 public:
  Accumulator() = default;
  explicit Accumulator(const Shape& shape) : shape_(shape) {}

  // Adds g, whose shape is the gradient's or one to be un-broadcast: from a rule that of one of its
  // op's outputs, else any that our shape broadcasts to. An undefined g stands for no gradient.
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

  // What comes next is the gradient of this input of this op: for messages, and to check its shape.
  void expect_from(const Node& op, int input) { op_ = &op, input_ = input; }
  const Node& expected_from() const { return *op_; }

 private:
  void check_contribution(const Shape& g) const;

  Shape shape_;
  int input_ = 0;
  const Node* op_ = nullptr;
  Tensor sum_;
};

// Gets the gradients of the op's outputs, and where to add those of the edge's inputs; null for an
// input that needs none.
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
  int takes = any;      // the gradients of so many outputs, which is how many the op must have

  static constexpr int any = 0;

  Edge() = default;
  Edge(std::span<const Var> of, int takes);
};

struct Node {
  OpName op;
  std::uint64_t number;     // creation order: an input's number is smaller than its user's
  Few<Shape> outputs;       // the shape of each output's gradient
  std::vector<Edge> edges;  // none: a leaf, or released
  bool released = false;    // backward() went through the edges, and freed what they held

  Node(OpName op, Few<Shape> outputs, std::vector<Edge> edges);
  bool is_leaf() const { return edges.empty() && !released; }
  ~Node();  // iterative: a chain of a million nodes must not overflow the stack
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;
};

// The node of an op with these outputs, or null if none of its edges is needed. Takes the edges;
// fails for those that do not fit the op, and for outputs and inputs that are undefined.
NodePtr make_node(OpName op, std::span<const Tensor> outputs, std::span<Edge> edges);

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/engine/record.h"

#include <atomic>

#include "backflow/engine/trace.h"

namespace backflow::inline BACKFLOW_PRECISION {

static std::uint64_t next_number() {
  static std::atomic<std::uint64_t> count = 0;
  return count.fetch_add(1, std::memory_order_relaxed);
}

Node::Node(OpName op, Few<Shape> outputs, std::vector<Edge> edges)
    : op(op), number(next_number()), outputs(std::move(outputs)), edges(std::move(edges)) {}

// Each node hands its inputs to a list instead of destroying them; the outermost empties the list,
// which is its own: a static Var is destroyed when the objects of this thread are gone already.
Node::~Node() {
  if (edges.empty()) return;
  static constinit thread_local std::vector<NodePtr>* doomed = nullptr;
  std::vector<NodePtr> mine;
  const bool outermost = doomed == nullptr;
  if (outermost) doomed = &mine;
  for (Edge& edge : edges)
    for (Edge::Input& input : edge.inputs)
      if (input.node) doomed->push_back(std::move(input.node));
  if (!outermost) return;
  while (!mine.empty()) {
    const NodePtr last = std::move(mine.back());
    mine.pop_back();
  }
  doomed = nullptr;
}

// A shape that merely broadcasts is no answer: summed in silence it would hide a mistake.
void Accumulator::check_contribution(const Shape& g) const {
  for (const Shape& output : op_->outputs)
    if (g == output && broadcasts_to(shape_, g)) return;
  std::ostringstream outputs;
  for (const Shape& output : op_->outputs) outputs << ' ' << output;
  fail(op_->op, "the gradient of input ", input_, " has the shape ", g, ", expected the input's ",
       shape_, " or the op's output's", outputs.str(), ", to be un-broadcast");
}

void Accumulator::add(Tensor g) {
  if (!wanted_ || !g.defined()) return;
  if (!(g.shape() == shape_)) {
    if (op_) check_contribution(g.shape());
    g = sum_to(g, shape_);
  }
  if (sum_.defined()) {
    add_into(sum_, g);
  } else {
    sum_ = std::move(g);
  }
}

Tensor Accumulator::take() {
  if (!sum_.defined()) return Tensor::zeros(shape_);
  return std::exchange(sum_, Tensor());
}

Var Var::leaf(Tensor value) {
  if (!value.defined()) fail("leaf", "the tensor is undefined: it has no values");
  auto node = std::make_shared<Node>(OpName("leaf"), value.shape(), std::vector<Edge>());
  return {std::move(value), std::move(node), 0};
}

static void check_output(OpName op, const Tensor& value, std::size_t output) {
  if (!value.defined()) fail(op, "output ", output, " is undefined: it has no values");
}

Var record_node(OpName op, Tensor value, std::vector<Edge> edges) {
  check_output(op, value, 0);
  if (Tracer* tracer = Tracer::active()) tracer->on_forward(op, {&value, 1});
  if (edges.empty()) return value;
  auto node = std::make_shared<Node>(op, value.shape(), std::move(edges));
  return {std::move(value), std::move(node), 0};
}

std::vector<Var> record_node(OpName op, std::vector<Tensor> values, std::vector<Edge> edges) {
  for (std::size_t i = 0; i < values.size(); ++i) check_output(op, values[i], i);
  if (Tracer* tracer = Tracer::active()) tracer->on_forward(op, values);
  NodePtr node;
  if (!edges.empty()) {
    Few<Shape> shapes;
    for (const Tensor& value : values) shapes.push_back(value.shape());
    node = std::make_shared<Node>(op, std::move(shapes), std::move(edges));
  }
  std::vector<Var> vars;
  vars.reserve(values.size());
  for (Tensor& value : values) {
    const int output = static_cast<int>(vars.size());
    vars.push_back(Var(std::move(value), node, output));
  }
  return vars;
}

Edge make_edge(std::span<const Var> inputs) {
  Edge edge;
  edge.input_count = static_cast<int>(inputs.size());
  bool needed = false;
  for (const Var& x : inputs) {
    needed |= x.requires_grad();
    if (!x.value().defined()) edge.undefined = static_cast<int>(&x - inputs.data());
  }
  if (!needed || !grad_enabled()) return edge;
  for (const Var& x : inputs) edge.inputs.push_back({x.node(), x.output()});
  return edge;
}

void fail_edge(OpName op, const Edge& edge, std::size_t outputs) {
  if (edge.undefined >= 0)
    fail(op, "input ", edge.first_input + edge.undefined, " is undefined: it has no values");
  fail(op, "the rule for input ", edge.first_input, " takes ", edge.takes,
       " gradients, but the op has ", outputs, " outputs, and so many gradients");
}

void add_gradients(std::span<const Tensor> g, std::span<Accumulator* const> into) {
  if (g.size() != into.size()) {
    const Node* op = into.empty() ? nullptr : into[0]->expected_from();
    fail(op ? std::string(op->op.text()) : "backward", "the rule gave ", g.size(),
         " gradients for ", into.size(), " inputs");
  }
  for (std::size_t i = 0; i < into.size(); ++i) into[i]->add(g[i]);
}

static thread_local bool recording = true;

NoGrad::NoGrad() : before_(std::exchange(recording, false)) {}
NoGrad::~NoGrad() { recording = before_; }
bool grad_enabled() { return recording; }

}  // namespace backflow::inline BACKFLOW_PRECISION

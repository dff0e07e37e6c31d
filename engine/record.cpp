#include "engine/record.h"

#include <atomic>

#include "engine/trace.h"

namespace backflow::inline BACKFLOW_PRECISION {

static std::uint64_t next_number() {
  static std::atomic<std::uint64_t> count = 0;
  return count.fetch_add(1, std::memory_order_relaxed);
}

Node::Node(const char* op, Few<Shape> outputs, std::vector<Edge> edges)
    : op(op), number(next_number()), outputs(std::move(outputs)), edges(std::move(edges)) {}

// Each node hands its inputs to a list instead of destroying them; the outermost empties the list.
Node::~Node() {
  if (edges.empty()) return;
  thread_local std::vector<NodePtr> doomed;
  thread_local bool emptying = false;
  for (Edge& edge : edges)
    for (Edge::Input& input : edge.inputs)
      if (input.node) doomed.push_back(std::move(input.node));
  if (emptying) return;
  emptying = true;
  while (!doomed.empty()) {
    const NodePtr last = std::move(doomed.back());
    doomed.pop_back();
  }
  emptying = false;
}

void Accumulator::add(Tensor g) {
  if (!wanted_ || !g.defined()) return;
  g = sum_to(g, shape_);
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
  auto node = std::make_shared<Node>("leaf", value.shape(), std::vector<Edge>());
  return {std::move(value), std::move(node), 0};
}

Var record_node(const char* op, Tensor value, std::vector<Edge> edges) {
  if (Tracer* tracer = Tracer::active()) tracer->on_forward(op, {&value, 1});
  if (edges.empty()) return value;
  auto node = std::make_shared<Node>(op, value.shape(), std::move(edges));
  return {std::move(value), std::move(node), 0};
}

std::vector<Var> record_node(const char* op, std::vector<Tensor> values, std::vector<Edge> edges) {
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
  if (!grad_enabled()) return edge;
  bool needed = false;
  for (const Var& x : inputs) needed |= x.requires_grad();
  if (!needed) return edge;
  for (const Var& x : inputs) edge.inputs.push_back({x.node(), x.output()});
  return edge;
}

static thread_local bool recording = true;

NoGrad::NoGrad() : before_(std::exchange(recording, false)) {}
NoGrad::~NoGrad() { recording = before_; }
bool grad_enabled() { return recording; }

}  // namespace backflow::inline BACKFLOW_PRECISION

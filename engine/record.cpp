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
  if (!g.defined()) return;
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

Edge::Edge(std::span<const Var> of, int takes)
    : input_count(static_cast<int>(of.size())), takes(takes) {
  bool needed = false;
  for (const Var& x : of) {
    needed |= x.requires_grad();
    if (!x.value().defined()) undefined = static_cast<int>(&x - of.data());
  }
  if (!needed || !grad_enabled()) return;
  for (const Var& x : of) inputs.push_back({x.node(), x.output()});
}

static void check_edge(OpName op, const Edge& edge, std::size_t outputs) {
  if (edge.undefined >= 0)
    fail(op, "input ", edge.first_input + edge.undefined, " is undefined: it has no values");
  if (edge.takes != Edge::any && edge.takes != static_cast<int>(outputs))
    fail(op, "the rule for input ", edge.first_input, " takes ", edge.takes,
         " gradients, but the op has ", outputs, " outputs, and so many gradients");
}

NodePtr make_node(OpName op, std::span<const Tensor> outputs, std::span<Edge> edges) {
  int input = 0;
  std::size_t needed = 0;
  for (Edge& edge : edges) {
    edge.first_input = std::exchange(input, input + edge.input_count);
    check_edge(op, edge, outputs.size());
    needed += !edge.inputs.empty();
  }
  Few<Shape> shapes;
  for (const Tensor& value : outputs) {
    if (!value.defined()) fail(op, "output ", shapes.size(), " is undefined: it has no values");
    shapes.push_back(value.shape());
  }
  if (Tracer* tracer = Tracer::active()) tracer->on_forward(op, outputs);
  if (needed == 0) return nullptr;
  std::vector<Edge> kept;
  kept.reserve(needed);
  for (Edge& edge : edges)
    if (!edge.inputs.empty()) kept.push_back(std::move(edge));
  return std::make_shared<Node>(op, std::move(shapes), std::move(kept));
}

Var record(OpName op, Tensor value, std::span<Edge> edges) {
  NodePtr node = make_node(op, {&value, 1}, edges);
  return {std::move(value), std::move(node), 0};
}

void add_gradients(std::span<const Tensor> g, std::span<Accumulator* const> into) {
  for (std::size_t i = 0; i < into.size(); ++i) {
    if (!into[i]) continue;  // it needs no gradient
    if (g.size() != into.size())
      fail(into[i]->expected_from().op, "the rule gave ", g.size(), " gradients for ", into.size(),
           " inputs");
    into[i]->add(g[i]);
  }
}

static thread_local bool recording = true;

Recording::Recording(bool on) : before_(std::exchange(recording, on)) {}
Recording::~Recording() { recording = before_; }
bool grad_enabled() { return recording; }

}  // namespace backflow::inline BACKFLOW_PRECISION

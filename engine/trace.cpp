#include "backflow/engine/trace.h"

#include <unordered_set>

namespace backflow::inline BACKFLOW_PRECISION {

static thread_local Tracer* active_tracer = nullptr;

Tracer::Tracer() : before_(std::exchange(active_tracer, this)) {}
Tracer::~Tracer() { active_tracer = before_; }
Tracer* Tracer::active() { return active_tracer; }

void trace_work(const char* what) {
  if (active_tracer) active_tracer->on_work(what);
}

void FirstNonFinite::on_forward(const char* op, std::span<const Tensor> values) {
  look(op, "the value of '", values);
}

void FirstNonFinite::on_backward(const char* op, std::span<const Tensor> gradients) {
  look(op, "a gradient computed by '", gradients);
}

void FirstNonFinite::look(const char* op, const char* what, std::span<const Tensor> all) {
  for (const Tensor& x : all)
    if (!found_ && !all_finite(x)) found_ = std::string(what) + op + "'";
}

std::string to_dot(const Var& root) {
  std::ostringstream dot;
  dot << "digraph history {\n  rankdir=LR;\n";
  std::unordered_set<const Node*> seen;
  std::vector<const Node*> stack;
  const auto visit = [&](const Node* node) {
    if (node && seen.insert(node).second) stack.push_back(node);
  };
  visit(root.node().get());
  while (!stack.empty()) {
    const Node& node = *stack.back();
    stack.pop_back();
    dot << "  n" << node.number << " [label=\"" << node.op;
    for (const Shape& shape : node.outputs) dot << "\\n" << shape;
    dot << "\"" << (node.edges.empty() ? ", shape=box" : "") << "];\n";
    for (const Edge& edge : node.edges)
      for (const Edge::Input& input : edge.inputs) {
        if (!input.node) continue;
        dot << "  n" << input.node->number << " -> n" << node.number << ";\n";
        visit(input.node.get());
      }
  }
  dot << "}\n";
  return dot.str();
}

}  // namespace backflow::inline BACKFLOW_PRECISION

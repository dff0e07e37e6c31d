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

#include "backflow/ops/drawing.h"

#include <unordered_map>
#include <unordered_set>

#include "backflow/engine/node.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// A name as it stands between the quotes of a label.
std::string escaped(const std::string& name) {
  std::string out;
  for (const char c : name) {
    if (c == '"' || c == '\\') out += '\\';
    if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

void draw_node(std::ostream& dot, const Node& node, const std::string& name) {
  dot << "  n" << node.number << " [label=\"" << name;
  for (const Shape& shape : node.outputs) dot << "\\n" << shape;
  dot << "\"" << (node.edges.empty() ? ", shape=box" : "") << "];\n";
}

}  // namespace

std::string to_dot(const Var& root, std::span<const NamedParameter> parameters) {
  std::unordered_map<const Node*, std::string> names;
  for (const auto& [name, parameter] : parameters)
    names.emplace(parameter->var().node().get(), escaped(name));
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
    const auto name = names.find(&node);
    draw_node(dot, node, name == names.end() ? node.op.text() : name->second);
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

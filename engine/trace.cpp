#include "backflow/engine/trace.h"

#include <algorithm>
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
  if (found_) return;
  for (const Tensor& value : values)
    if (!all_finite(value)) found_ = std::string("the value of '") + op + "'";
}

void FirstNonFinite::on_backward(const char* op, std::span<Accumulator* const> into) {
  if (found_) return;
  for (const Accumulator* gradient : into)
    if (gradient->sum().defined() && !all_finite(gradient->sum()))
      found_ = std::string("a gradient computed by '") + op + "'";
}

double Profile::seconds() const {
  double total = 0;
  for (const auto& [key, cost] : costs) total += cost.seconds;
  return total;
}

std::vector<std::pair<Profile::Key, Profile::Cost>> Profile::slowest_first() const {
  std::vector<std::pair<Key, Cost>> all(costs.begin(), costs.end());
  std::stable_sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.second.seconds > b.second.seconds;
  });
  return all;
}

void Profiler::add(const char* op, const char* phase, Index reals) {
  const auto now = Clock::now();
  Profile::Cost& cost = profile_.costs[{op, phase}];
  ++cost.calls;
  cost.seconds += std::chrono::duration<double>(now - last_).count();
  cost.bytes += reals * static_cast<Index>(sizeof(Real));
  last_ = now;
}

void Profiler::on_forward(const char* op, std::span<const Tensor> values) {
  Index reals = 0;
  for (const Tensor& value : values) reals += value.size();
  add(op, "forward", reals);
}

void Profiler::on_backward(const char* op, std::span<Accumulator* const> into) {
  Index reals = 0;
  for (const Accumulator* gradient : into)
    if (gradient->sum().defined()) reals += gradient->sum().size();
  add(op, "backward", reals);
}

void Profiler::on_work(const char* what) { add(what, "", 0); }

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

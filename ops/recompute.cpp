#include "backflow/ops/recompute.h"

#include <unordered_set>

#include "backflow/engine/backward.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Function = std::function<std::vector<Var>(const std::vector<Var>&)>;
using Nodes = std::unordered_set<const Node*>;

bool is_leaf(const Var& x) { return x.requires_grad() && x.node()->is_leaf(); }

// All nodes that are made from now on have a larger number.
std::uint64_t present_number() { return Var::leaf(Real(0)).node()->number; }

[[noreturn]] void fail_unreachable(const Node& node) {
  if (node.is_leaf())
    fail("checkpoint", "the function reaches a leaf of shape ", node.outputs[0],
         " that is no input: its gradient would be lost; pass it among the inputs");
  fail("checkpoint", "the function reaches the result of '", node.op, "' of shape ",
       node.outputs[0], ", computed outside of it: its gradient would be lost; pass it among the ",
       "inputs and use the argument in its place");
}

// Fails if the history of the outputs, as far as it is younger than `begin`, has other leaves than
// these, or comes from older results.
void check_history(const std::vector<Var>& outputs, const Nodes& leaves, std::uint64_t begin) {
  Nodes seen;
  std::vector<const Node*> stack;
  const auto visit = [&](const Node* node) {
    if (!node || !seen.insert(node).second || leaves.contains(node)) return;
    if (node->is_leaf() || node->number < begin) fail_unreachable(*node);
    stack.push_back(node);
  };
  for (const Var& output : outputs) visit(output.node().get());
  while (!stack.empty()) {
    const Node& node = *stack.back();
    stack.pop_back();
    for (const Edge& edge : node.edges)
      for (const Edge::Input& input : edge.inputs) visit(input.node.get());
  }
}

// What the rule of a checkpoint keeps.
class Recomputation {
 public:
  Recomputation(Function f, const std::vector<Var>& inputs) : f_(std::move(f)) {
    for (const Var& x : inputs) {
      inputs_.push_back(is_leaf(x) ? x : x.detach());  // a leaf has no history to keep alive
      wanted_.push_back(x.requires_grad());
    }
  }

  // To constants f leaves no history, but for what it reaches by itself. That is looked at and
  // dropped.
  std::vector<Tensor> values() {
    std::vector<Var> constants;
    for (const Var& x : inputs_) constants.push_back(x.detach());
    const std::uint64_t begin = present_number();
    const std::vector<Var> outputs = f_(constants);
    check_history(outputs, leaves_of(inputs_), begin);
    std::vector<Tensor> values;
    for (const Var& output : outputs) {
      values.push_back(output.value());
      shapes_.push_back(output.shape());
    }
    return values;
  }

  // The gradients of the inputs from those of the outputs.
  std::vector<Tensor> operator()(std::span<const Tensor> g) const {
    const Recording recording(true);  // whatever the caller of backward() has set
    std::vector<Var> arguments;
    for (std::size_t i = 0; i < inputs_.size(); ++i)
      arguments.push_back(wanted_[i] ? Var::leaf(inputs_[i].value()) : inputs_[i]);
    const Var root = joined(outputs_again(arguments), g);
    if (!root.requires_grad()) return std::vector<Tensor>(inputs_.size());  // depends on no input
    return gradients_of(arguments, backward(root));
  }

 private:
  static Nodes leaves_of(const std::vector<Var>& all) {
    Nodes leaves;
    for (const Var& x : all)
      if (is_leaf(x)) leaves.insert(x.node().get());
    return leaves;
  }

  std::vector<Var> outputs_again(const std::vector<Var>& arguments) const {
    const std::uint64_t begin = present_number();
    std::vector<Var> outputs = f_(arguments);
    bool same = outputs.size() == shapes_.size();
    for (std::size_t i = 0; same && i < outputs.size(); ++i)
      same = outputs[i].shape() == shapes_[i];
    if (!same)
      fail("checkpoint",
           "called a second time, the function gave results of other shapes; it must "
           "be a function of its inputs alone");
    Nodes leaves = leaves_of(arguments);
    leaves.merge(leaves_of(inputs_));
    check_history(outputs, leaves, begin);
    return outputs;
  }

  // A scalar from which backward() begins with these gradients of the outputs.
  static Var joined(const std::vector<Var>& outputs, std::span<const Tensor> g) {
    const std::vector<Tensor> seeds(g.begin(), g.end());
    return override_gradient("checkpoint", std::vector{Tensor(Real(0))}, outputs,
                             [seeds](std::span<const Tensor>) { return seeds; })[0];
  }

  // A leaf may have been reached as the argument and by itself as well.
  std::vector<Tensor> gradients_of(const std::vector<Var>& arguments,
                                   const Gradients& found) const {
    std::vector<Tensor> all;
    Nodes met;
    const auto gradient = [&](const Var& leaf) {
      return is_leaf(leaf) && met.insert(leaf.node().get()).second && found.contains(leaf)
                 ? found[leaf]
                 : Tensor();
    };
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const Tensor of_argument = gradient(arguments[i]), of_itself = gradient(inputs_[i]);
      const bool both = of_argument.defined() && of_itself.defined();
      all.push_back(both                    ? add(of_argument, of_itself)
                    : of_argument.defined() ? of_argument
                                            : of_itself);
    }
    return all;
  }

  Function f_;
  std::vector<Var> inputs_;
  std::vector<bool> wanted_;
  std::vector<Shape> shapes_;  // of the outputs
};

}  // namespace

std::vector<Var> checkpoint(Function f, const std::vector<Var>& inputs) {
  if (!f) fail("checkpoint", "the function is empty");
  if (!grad_enabled()) return f(inputs);
  Recomputation rule(std::move(f), inputs);
  const std::vector<Tensor> values = rule.values();
  return override_gradient("checkpoint", values, inputs, std::move(rule));
}

Var checkpoint(std::function<Var(const std::vector<Var>&)> f, const std::vector<Var>& inputs) {
  if (!f) fail("checkpoint", "the function is empty");
  const Function several = [f = std::move(f)](const std::vector<Var>& in) {
    return std::vector<Var>{f(in)};
  };
  return checkpoint(several, inputs)[0];
}

}  // namespace backflow::inline BACKFLOW_PRECISION

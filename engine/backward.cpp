// The sweep walks back from the root, the scalar that is differentiated, to the leaves. It takes
// one node after another, runs the node's rules on the gradients of its outputs, and adds what they
// give to the gradients of the nodes it came from.
//
// Nodes that wait for their turn, and the gradients added up for them so far, stand in a map
// ordered by the nodes' numbers, newest first. All ops that used a node's outputs are newer than
// the node, so when its turn comes its gradients are complete. Nothing counts users, nothing
// recurses, the graph carries no marks, and nodes that the root does not depend on are never met.
// The map is as large as the graph is wide.
#include "backflow/engine/backward.h"

#include <map>
#include <typeinfo>

#include "backflow/engine/trace.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct Waiting {
  NodePtr node;
  Few<Accumulator> outputs;
};

class Frontier {
 public:
  bool empty() const { return waiting_.empty(); }

  Waiting take_newest() { return std::move(waiting_.extract(waiting_.begin()).mapped()); }

  Accumulator& gradient_of(const NodePtr& node, int output) {
    auto [place, inserted] = waiting_.try_emplace(node->number);
    Waiting& entry = place->second;
    if (inserted) {
      entry.node = node;
      for (const Shape& shape : node->outputs) entry.outputs.push_back(Accumulator(shape));
    }
    return entry.outputs[output];
  }

 private:
  std::map<std::uint64_t, Waiting, std::greater<>> waiting_;
};

Tensor checked_seed(const Var& root, Tensor seed) {
  if (!root.requires_grad())
    fail("backward", "the root depends on no leaf: nothing to differentiate");
  if (!seed.defined()) {
    if (root.size() != 1)
      fail("backward", "the root must be a scalar, its shape is ", root.shape(),
           "; sum it, or pass a seed gradient of that shape");
    return Tensor::full(root.shape(), 1);
  }
  if (!(seed.shape() == root.shape()))
    fail("backward", "the seed's shape ", seed.shape(), " is not the root's ", root.shape());
  return seed;
}

// An error inside of a rule is thrown on with the name of the op that the rule belongs to.
void run_rule(const Node& node, const Edge& edge, std::span<const Tensor> g,
              std::span<Accumulator* const> into) try {
  edge.rule(g, into);
} catch (const Error& error) {
  const std::string where = std::string("[") + node.op.text() + "]", what = error.what();
  if (typeid(error) != typeid(Error) || what.starts_with(where)) throw;
  throw Error(where + " in its rule for backward: " + what);
}

void show_gradients(Tracer& tracer, const Node& node, std::span<Accumulator* const> into) {
  std::vector<Tensor> sums;
  for (const Accumulator* gradient : into)
    if (gradient && gradient->sum().defined()) sums.push_back(gradient->sum());
  tracer.on_backward(node.op, sums);
}

// Calls visit(node, the gradients of its outputs) for each node that the root depends on, when they
// are complete and before the rules get them. A leaf has no rules: there visit may move them away.
template <class Visit>
void sweep(const Var& root, Tensor seed, Graph graph, const Visit& visit) {
  seed = checked_seed(root, std::move(seed));
  Frontier frontier;
  frontier.gradient_of(root.node(), root.output()).add(std::move(seed));
  std::vector<Tensor> g;
  std::vector<Accumulator*> into;
  while (!frontier.empty()) {
    Waiting current = frontier.take_newest();
    Node& node = *current.node;
    if (node.released)
      fail("backward", "the history of '", node.op,
           "' was released by an earlier backward(); pass Graph::keep to that one");
    g.clear();
    for (Accumulator& output : current.outputs) g.push_back(output.take());
    visit(current.node, g);
    if (node.edges.empty()) continue;
    node.released = graph == Graph::release;  // now, since a rule may throw
    for (Edge& edge : node.edges) {
      into.clear();
      int input = edge.first_input;
      for (const Edge::Input& to : edge.inputs) {
        into.push_back(to.node ? &frontier.gradient_of(to.node, to.output) : nullptr);
        if (to.node) into.back()->expect_from(node, input);
        ++input;
      }
      run_rule(node, edge, g, into);
      if (Tracer* tracer = Tracer::active()) show_gradients(*tracer, node, into);
      if (node.released) edge.rule = nullptr;  // frees what the closure captured
    }
    if (node.released) node.edges.clear();
  }
}

}  // namespace

Gradients backward(const Var& root, Tensor seed, Graph graph) {
  Gradients found;
  sweep(root, std::move(seed), graph, [&](const NodePtr& node, std::vector<Tensor>& g) {
    if (node->is_leaf()) found.of_leaf_.emplace(node, std::move(g[0]));
  });
  return found;
}

std::vector<Tensor> gradients(const Var& root, const std::vector<Var>& of, Tensor seed,
                              Graph graph) {
  std::vector<Tensor> found(of.size());
  std::unordered_multimap<const Node*, std::size_t> places;
  for (std::size_t i = 0; i < of.size(); ++i) {
    if (!of[i].requires_grad())
      fail("gradients", "number ", i, " of the list is a constant, which has no gradient; ",
           "begin its history with Var::leaf()");
    places.emplace(of[i].node().get(), i);
  }
  sweep(root, std::move(seed), graph, [&](const NodePtr& node, const std::vector<Tensor>& g) {
    const auto [first, last] = places.equal_range(node.get());
    for (auto place = first; place != last; ++place)
      found[place->second] = g[of[place->second].output()];
  });
  for (std::size_t i = 0; i < of.size(); ++i)
    if (!found[i].defined()) found[i] = Tensor::zeros(of[i].shape());
  return found;
}

Tensor Gradients::operator[](const Var& leaf) const {
  if (!leaf.requires_grad())
    fail("gradients", "a constant has no gradient; begin its history with Var::leaf()");
  if (!leaf.node()->is_leaf())
    fail("gradients", "'", leaf.node()->op, "' is not a leaf, so its gradient was not kept; ",
         "ask for it with gradients(root, {x})");
  const auto found = of_leaf_.find(leaf.node());
  if (found != of_leaf_.end()) return found->second;
  return Tensor::zeros(leaf.shape());
}

}  // namespace backflow::inline BACKFLOW_PRECISION

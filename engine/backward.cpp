// The sweep. Nodes that wait for their turn stand in a map ordered by creation number, newest
// first. A node's users are all newer than the node, so when its turn comes its gradient is
// complete: no in-degrees to count, no recursion, no visited marks left in the graph, and nodes
// that the root does not reach never count. The map is as large as the graph is wide.
#include "engine/backward.h"

#include <map>

#include "engine/trace.h"

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

}  // namespace

Gradients backward(const Var& root, Tensor seed, Graph graph) {
  seed = checked_seed(root, std::move(seed));
  Gradients gradients;
  Frontier frontier;
  frontier.gradient_of(root.node(), root.output()).add(std::move(seed));
  Accumulator unwanted;
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
    if (node.edges.empty()) {
      gradients.of_leaf_.emplace(std::move(current.node), std::move(g[0]));
      continue;
    }
    node.released = graph == Graph::release;  // from now on: a rule may throw
    for (Edge& edge : node.edges) {
      into.clear();
      for (const Edge::Input& input : edge.inputs)
        into.push_back(input.node ? &frontier.gradient_of(input.node, input.output) : &unwanted);
      edge.rule(g, into);
      if (Tracer* tracer = Tracer::active()) tracer->on_backward(node.op, into);
      if (node.released) edge.rule = nullptr;  // frees what the closure captured
    }
    if (node.released) node.edges.clear();
  }
  return gradients;
}

Tensor Gradients::operator[](const Var& leaf) const {
  const auto found = of_leaf_.find(leaf.node());
  if (found != of_leaf_.end()) return found->second;
  return Tensor::zeros(leaf.shape());
}

}  // namespace backflow::inline BACKFLOW_PRECISION

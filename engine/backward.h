// Reverse-mode differentiation: from a scalar back to every leaf it depends on.
//
// First-order only: rules compute on Tensors, so the gradients have no history of their own.
#pragma once

#include <unordered_map>

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

// `release` frees each rule, and the tensors that it captured, as soon as it has run; `keep` allows
// another backward() through the same history.
enum class Graph { release, keep };

// What backward() found: the gradient of every leaf that the root depends on.
class Gradients {
 public:
  // The gradient of a leaf, of its shape. It is zeros for a leaf that the root does not depend on,
  // as contains() tells. Fails for anything but a leaf, since no other gradient was kept: see
  // gradients() below.
  Tensor operator[](const Var& leaf) const;
  bool contains(const Var& leaf) const { return of_leaf_.contains(leaf.node()); }

 private:
  friend Gradients backward(const Var&, Tensor, Graph);
  std::unordered_map<NodePtr, Tensor> of_leaf_;
};

// The gradients of sum(root * seed) for every leaf that root depends on. Without a seed, the root
// must have one element. Fails if a released history is walked again.
Gradients backward(const Var& root, Tensor seed = {}, Graph graph = Graph::release);

// The gradients of sum(root * seed) for the Vars of a list, one for each and of its shape: leaves,
// results of ops (any output of several), the root itself.
//
//   const Var h = square(x), loss = sum(exp(h));
//   const std::vector<Tensor> g = gradients(loss, {h, x});
//
// Zeros for a Var that the root does not depend on; fails for a constant, which has no gradient.
std::vector<Tensor> gradients(const Var& root, const std::vector<Var>& of, Tensor seed = {},
                              Graph graph = Graph::release);

}  // namespace backflow::inline BACKFLOW_PRECISION

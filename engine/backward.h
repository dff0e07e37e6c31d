// Reverse-mode differentiation: from a scalar back to every leaf it depends on.
//
// First-order only: closures compute on Tensors, so the gradients have no history of their own.
#pragma once

#include <unordered_map>

#include "engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

// `release` frees each node's closures as soon as they have run; `keep` allows another backward()
// through the same history.
enum class Graph { release, keep };

class Gradients {
 public:
  // The gradient of a leaf, of its shape; zeros if the root does not depend on it.
  Tensor operator[](const Var& leaf) const;
  bool contains(const Var& leaf) const { return of_leaf_.contains(leaf.node()); }

 private:
  friend Gradients backward(const Var&, Tensor, Graph);
  std::unordered_map<NodePtr, Tensor> of_leaf_;
};

// The gradients of sum(root * seed) for every leaf that root depends on. Without a seed, the root
// must have one element. Fails if a released history is walked again.
Gradients backward(const Var& root, Tensor seed = {}, Graph graph = Graph::release);

}  // namespace backflow::inline BACKFLOW_PRECISION

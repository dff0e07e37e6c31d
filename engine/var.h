// A differentiable value: a Tensor and, if it has a history, a handle to a node of the graph.
//
// An op on Vars computes its value at once, and leaves a node: how its output came about. The node
// leads to the nodes of the op's inputs, and so on back to the leaves, which came from no op:
// inputs and parameters that gradients are wanted for. All this is the Var's history. A Var without
// one is a constant, and no gradient flows into it.
//
// The node holds the op's name, its number and its edges to other nodes (node.h), but not the
// value: an activation lives exactly as long as a rule for a gradient or a user needs it. Vars are
// immutable.
#pragma once

#include <memory>
#include <vector>

#include "backflow/engine/tensor.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Node;  // engine/node.h
using NodePtr = std::shared_ptr<Node>;

class Var {
 public:
  Var() = default;
  Var(Tensor value) : value_(std::move(value)) {}  // a constant
  Var(Real value) : value_(value) {}               // a constant scalar
  // Output number `output` of the op that left the node, or a constant if the node is null. Only
  // record() calls this.
  Var(Tensor value, NodePtr node, int output)
      : value_(std::move(value)), node_(std::move(node)), output_(output) {}

  // A leaf, where a history starts: backward() reports the gradient of each one that it reaches.
  // Fails for an undefined Tensor.
  static Var leaf(Tensor value);

  const Tensor& value() const { return value_; }
  const Shape& shape() const { return value_.shape(); }
  int rank() const { return value_.rank(); }
  Index size() const { return value_.size(); }
  Index size(int axis) const { return value_.size(axis); }
  Real item() const { return value_.item(); }

  bool requires_grad() const { return node_ != nullptr; }
  Var detach() const { return value_; }  // the same value without its history

  const NodePtr& node() const { return node_; }
  int output() const { return output_; }  // which of the node's outputs this is

 private:
  friend class Parameter;
  Tensor value_;
  NodePtr node_;
  int output_ = 0;
};

inline std::ostream& operator<<(std::ostream& out, const Var& x) { return out << x.value(); }

// While one is alive, ops of this thread record a history, or none.
class Recording {
 public:
  explicit Recording(bool on);
  ~Recording();
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;

 private:
  bool before_;
};
struct NoGrad : Recording {
  NoGrad() : Recording(false) {}
};
bool grad_enabled();

}  // namespace backflow::inline BACKFLOW_PRECISION

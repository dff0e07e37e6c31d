#include "backflow/ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The last axes merge into one row while both operands go on through memory with the same step, 1
// or, where they repeat, 0.
BroadcastPlan::BroadcastPlan(const char* op, const Shape& a, const Shape& b)
    : shape(broadcast(op, a, b)) {
  const Strides full_a = broadcast_strides(a, shape), full_b = broadcast_strides(b, shape);
  int axis = shape.rank() - 1;
  while (axis >= 0 && shape[axis] == 1) --axis;
  if (axis >= 0) step_a = full_a[axis] ? 1 : 0, step_b = full_b[axis] ? 1 : 0;
  for (; axis >= 0; --axis) {
    const bool contiguous = full_a[axis] == step_a * inner && full_b[axis] == step_b * inner;
    if (!contiguous && shape[axis] != 1) break;
    inner *= shape[axis];
  }
  for (int i = 0; i <= axis; ++i) {
    outer_.push_back(shape[i]);
    strides_a_[i] = full_a[i];
    strides_b_[i] = full_b[i];
  }
  rows = outer_.size();
}

BroadcastPlan::Offsets BroadcastPlan::offsets(Index row) const {
  Offsets at{0, 0};
  for (int i = outer_.rank() - 1; i >= 0; --i) {
    const Index index = i > 0 ? row % outer_[i] : row;  // a division costs as much as a short row
    if (i > 0) row /= outer_[i];
    at.a += index * strides_a_[i];
    at.b += index * strides_b_[i];
  }
  return at;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

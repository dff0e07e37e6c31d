// Ops that move elements and compute nothing.
//
// Each has an overload for Tensors. A Tensor is contiguous, so all but reshape copy; a copy that
// would leave every element in its place shares the buffer instead. An axis may be negative: it
// counts from the end.
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "backflow/engine/record.h"

namespace backflow::inline BACKFLOW_PRECISION {

// One size in braces may be -1: it follows from the number of elements. reshape(x, {-1, 784}).
Tensor reshape(const Tensor& x, const Shape& shape);
Tensor reshape(const Tensor& x, std::initializer_list<Index> sizes);
Var reshape(const Var& x, const Shape& shape);
Var reshape(const Var& x, std::initializer_list<Index> sizes);

// Axis i of the result is axis axes[i] of x.
Tensor permute(const Tensor& x, const std::vector<int>& axes);
Var permute(const Var& x, const std::vector<int>& axes);

// Swaps the last two axes: (..., M, N) -> (..., N, M).
Tensor transpose(const Tensor& x);
Var transpose(const Var& x);

// The indices begin..end-1 of an axis; 0 <= begin <= end <= size.
Tensor slice(const Tensor& x, int axis, Index begin, Index end);
Var slice(const Var& x, int axis, Index begin, Index end);

// One after another along an axis; the other sizes must agree. concat({a, b}, 1), or a vector.
Tensor concat(std::span<const Tensor> parts, int axis);
Tensor concat(std::initializer_list<Tensor> parts, int axis);
Var concat(std::span<const Var> parts, int axis);
Var concat(std::initializer_list<Var> parts, int axis);

// Tensors of one shape beside one another along a new axis, axis number `axis` of the result: two
// of (2, 3) are (2, 2, 3) along axis 0 and (2, 3, 2) along -1. stack({a, b}, 0), or a vector.
Tensor stack(std::span<const Tensor> parts, int axis);
Tensor stack(std::initializer_list<Tensor> parts, int axis);
Var stack(std::span<const Var> parts, int axis);
Var stack(std::initializer_list<Var> parts, int axis);

// The parts that concat would put together again: so many equal ones, split(x, 3, 1), or of the
// sizes in a list, split(x, {2, 5}, 1). Fails unless they make up the axis.
std::vector<Tensor> split(const Tensor& x, Index count, int axis);
std::vector<Tensor> split(const Tensor& x, std::span<const Index> sizes, int axis);
std::vector<Tensor> split(const Tensor& x, std::initializer_list<Index> sizes, int axis);
std::vector<Var> split(const Var& x, Index count, int axis);
std::vector<Var> split(const Var& x, std::span<const Index> sizes, int axis);
std::vector<Var> split(const Var& x, std::initializer_list<Index> sizes, int axis);

// Zeros before and after, along an axis.
Tensor pad(const Tensor& x, int axis, Index before, Index after);
Var pad(const Var& x, int axis, Index before, Index after);

// Reverses the order along each of the axes.
Tensor flip(const Tensor& x, const std::vector<int>& axes);
Var flip(const Var& x, const std::vector<int>& axes);

// Repeats x along the axes that it lacks or that have size 1 in it.
Tensor broadcast_to(const Tensor& x, const Shape& shape);
Var broadcast_to(const Var& x, const Shape& shape);

// Each 2 x 2 block of pixels becomes 4 channels: (B, C, H, W) -> (B, 4 C, H / 2, W / 2), where
// channel 4 c + 2 i + j holds row i, column j of the blocks of channel c. H and W must be even.
Tensor space_to_depth(const Tensor& x);
Var space_to_depth(const Var& x);
// And back; the channels must come in fours.
Tensor depth_to_space(const Tensor& x);
Var depth_to_space(const Var& x);

}  // namespace backflow::inline BACKFLOW_PRECISION

// stack puts parts beside one another along a new axis, split takes a tensor apart along one.
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Where the new axis stands among those of the result, counted from the front.
template <class Part>  // Tensor or Var
int place_of_new_axis(std::span<const Part> parts, int axis) {
  if (parts.empty()) fail("stack", "nothing to stack");
  const Shape& shape = parts[0].shape();
  for (const Part& part : parts)
    if (!(part.shape() == shape)) fail("stack", "shapes differ: ", shape, " and ", part.shape());
  const int place = axis < 0 ? axis + shape.rank() + 1 : axis;
  if (place < 0 || place > shape.rank())
    fail("stack", "no place ", axis, " for a new axis in the shape ", shape);
  return place;
}

Shape with_axis_of_one(const Shape& shape, int place) {
  Shape wider(shape.begin(), shape.begin() + place);
  wider.push_back(1);
  for (int axis = place; axis < shape.rank(); ++axis) wider.push_back(shape[axis]);
  return wider;
}

template <class Whole>  // Tensor or Var
std::vector<Whole> parts_of(const Whole& x, std::span<const Index> sizes, int axis) {
  axis = x.shape().axis("split", axis);
  const Index length = x.size(axis);
  Index left = length;
  for (Index size : sizes) {
    if (size < 0 || size > left)
      fail("split", "a part of size ", size, " where ", left, " of axis ", axis, " of the shape ",
           x.shape(), " are left");
    left -= size;
  }
  if (left != 0)
    fail("split", "the sizes add up to ", length - left, ", expected those of axis ", axis,
         " of the shape ", x.shape());
  std::vector<Whole> parts;
  Index begin = 0;
  for (Index size : sizes) {
    parts.push_back(slice(x, axis, begin, begin + size));
    begin += size;
  }
  return parts;
}

std::vector<Index> equal_sizes(const Shape& shape, Index count, int axis) {
  axis = shape.axis("split", axis);
  if (count < 1 || shape[axis] % count != 0)
    fail("split", "axis ", axis, " of the shape ", shape, " has no ", count, " equal parts");
  return std::vector<Index>(count, shape[axis] / count);
}

}  // namespace

Tensor stack(std::span<const Tensor> parts, int axis) {
  const int place = place_of_new_axis(parts, axis);
  std::vector<Tensor> wider;
  for (const Tensor& part : parts)
    wider.push_back(part.reshape(with_axis_of_one(part.shape(), place)));
  return concat(wider, place);
}

Tensor stack(std::initializer_list<Tensor> parts, int axis) {
  return stack(std::span(parts.begin(), parts.size()), axis);
}

Var stack(std::span<const Var> parts, int axis) {
  const int place = place_of_new_axis(parts, axis);
  std::vector<Tensor> values;
  std::vector<Edge> edges;
  for (const Var& part : parts) {
    const Index i = std::ssize(values);
    values.push_back(part.value());
    edges.push_back(grad(part, [=, shape = part.shape()](const Tensor& g) {
      return slice(g, place, i, i + 1).reshape(shape);
    }));
  }
  return record("stack", stack(values, place), edges);
}

Var stack(std::initializer_list<Var> parts, int axis) {
  return stack(std::span(parts.begin(), parts.size()), axis);
}

std::vector<Tensor> split(const Tensor& x, std::span<const Index> sizes, int axis) {
  return parts_of(x, sizes, axis);
}
std::vector<Tensor> split(const Tensor& x, std::initializer_list<Index> sizes, int axis) {
  return parts_of(x, {sizes.begin(), sizes.size()}, axis);
}
std::vector<Tensor> split(const Tensor& x, Index count, int axis) {
  return parts_of(x, equal_sizes(x.shape(), count, axis), axis);
}

// Slices: the first that gets a gradient leaves zeros for the others, which add theirs in place.
std::vector<Var> split(const Var& x, std::span<const Index> sizes, int axis) {
  return parts_of(x, sizes, axis);
}
std::vector<Var> split(const Var& x, std::initializer_list<Index> sizes, int axis) {
  return parts_of(x, {sizes.begin(), sizes.size()}, axis);
}
std::vector<Var> split(const Var& x, Index count, int axis) {
  return parts_of(x, equal_sizes(x.shape(), count, axis), axis);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

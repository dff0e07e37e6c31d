#include "backflow/engine/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

void Shape::push_back(Index size) {
  if (rank_ == max_rank) fail("shape", "more than ", max_rank, " axes");
  if (size < 0) fail("shape", "axis ", rank_, " has the negative size ", size);
  sizes_[rank_++] = size;
  if (is_surely_countable() || is_countable()) return;
  const Shape refused = *this;
  --rank_;
  refused.check_size();
}

bool Shape::is_countable() const {
  Index product = 1;
  for (Index size : *this) {
    if (size < 0) return false;
    if (size != 0 && __builtin_mul_overflow(product, size, &product)) return false;
  }
  return product <= max_size;
}

void Shape::check_product() const {
  if (is_countable()) return;
  for (Index size : *this)
    if (size < 0) fail("shape", "a negative size in the shape ", *this);
  fail("shape", *this, " is beyond any memory, expected at most ", max_size, " elements");
}

int Shape::axis(const char* op, int axis) const {
  const int counted = axis < 0 ? axis + rank_ : axis;
  if (counted < 0 || counted >= rank_) fail(op, "no axis ", axis, " in the shape ", *this);
  return counted;
}

std::ostream& operator<<(std::ostream& out, const Shape& shape) {
  out << '(';
  for (int i = 0; i < shape.rank(); ++i) out << (i ? ", " : "") << shape[i];
  return out << ')';
}

Shape broadcast(const char* op, const Shape& a, const Shape& b) {
  Shape out = a.rank() >= b.rank() ? a : b;
  for (int i = 1; i <= std::min(a.rank(), b.rank()); ++i) {
    if (a[-i] != b[-i] && a[-i] != 1 && b[-i] != 1)
      fail(op, "shapes do not broadcast: ", a, " and ", b);
    out[-i] = a[-i] == 1 ? b[-i] : a[-i];
  }
  out.check_size();
  return out;
}

bool broadcasts_to(const Shape& from, const Shape& to) {
  if (from.rank() > to.rank()) return false;
  for (int i = 1; i <= from.rank(); ++i)
    if (from[-i] != to[-i] && from[-i] != 1) return false;
  return true;
}

Strides strides_of(const Shape& shape) {
  Strides strides{};
  Index stride = 1;
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    strides[axis] = stride;
    stride *= shape[axis];
  }
  return strides;
}

Strides broadcast_strides(const Shape& from, const Shape& to) {
  const Strides strides = strides_of(from);
  const int added = to.rank() - from.rank();
  Strides repeated{};
  for (int axis = 0; axis < from.rank(); ++axis)
    if (from[axis] != 1) repeated[added + axis] = strides[axis];
  return repeated;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

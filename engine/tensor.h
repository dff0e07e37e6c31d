// A value: a shape over a shared, pooled buffer of Reals, contiguous and row-major.
//
// Copying a Tensor copies a handle to the buffer. Whoever wants to write asks for mutable_data(),
// which copies the values first if another handle sees them: so a Tensor behaves as a value. It
// knows nothing of gradients; a value that can be differentiated is a Var (var.h).
#pragma once

#include <vector>

#include "backflow/engine/buffer.h"
#include "backflow/engine/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

class Tensor {
 public:
  Tensor() = default;                                           // undefined: "no tensor"
  Tensor(Real value);                                           // a scalar, shape ()
  Tensor(const Shape& shape, const std::vector<Real>& values);  // fails unless the sizes agree
  static Tensor empty(const Shape& shape);  // uninitialised; OutOfMemory if it does not fit
  static Tensor full(const Shape& shape, Real value);
  static Tensor zeros(const Shape& shape) { return full(shape, 0); }
  static Tensor identity(Index n);

  bool defined() const { return static_cast<bool>(buffer_); }
  const Shape& shape() const { return shape_; }
  int rank() const { return shape_.rank(); }
  Index size() const { return shape_.size(); }
  Index size(int axis) const { return shape_.size(axis); }  // fails when there is no such axis

  // These fail for an undefined tensor: it has no values, though its shape () is a scalar's.
  const Real* data() const {
    check_defined();
    return buffer_.data();
  }
  Real* mutable_data();
  bool shared() const { return defined() && buffer_.shared(); }
  Real operator[](Index i) const { return data()[i]; }  // flat; the index is not checked
  // The element at an index per axis, x.at({i, j}). Fails unless 0 <= index < size on every axis.
  Real at(std::initializer_list<Index> indices) const { return data()[place("at", indices)]; }
  void set(std::initializer_list<Index> indices, Real value);
  Real item() const;  // of a tensor with one element
  std::vector<Real> values() const { return {data(), data() + size()}; }

  Tensor reshape(const Shape& shape) const;  // the same buffer under another shape

 private:
  void check_defined() const {
    if (!buffer_) [[unlikely]]
      fail_undefined();
  }
  [[noreturn]] static void fail_undefined();
  Index place(const char* op, std::initializer_list<Index> indices) const;

  Shape shape_;
  Buffer buffer_;
};

// As NumPy prints an array: "[[1. 2.]\n [3. 4.]]", summarised above 1000 elements. A scalar is
// printed as an element is, "1.", and an undefined tensor as "undefined".
std::ostream& operator<<(std::ostream& out, const Tensor& x);  // print.cpp

// The arithmetic that adding up gradients needs; every other kernel stands beside its op in ops/.
Tensor add(const Tensor& a, const Tensor& b);        // equal shapes
void add_into(Tensor& sum, const Tensor& x);         // sum += x, equal shapes
Tensor sum_to(const Tensor& x, const Shape& shape);  // sums what broadcasting `shape` had repeated

}  // namespace backflow::inline BACKFLOW_PRECISION

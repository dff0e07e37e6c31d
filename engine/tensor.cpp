#include "backflow/engine/tensor.h"

#include "backflow/engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Memory for the values of a shape, which is named when there is no more memory.
static Buffer buffer_for(const Shape& shape) {
  try {
    return Buffer(shape.size());
  } catch (const OutOfMemory& error) {
    std::ostringstream what;
    what << "the shape " << shape;
    throw OutOfMemory(error.bytes(), "tensor", what.str());
  }
}

Tensor Tensor::empty(const Shape& shape) {
  shape.check_size();  // whoever wrote single axes has not met a check yet
  Tensor out;
  out.shape_ = shape;
  out.buffer_ = buffer_for(shape);
  return out;
}

Tensor::Tensor(Real value) : buffer_(1) { *buffer_.data() = value; }

Tensor::Tensor(const Shape& shape, const std::vector<Real>& values) {
  shape.check_size();
  if (static_cast<Index>(values.size()) != shape.size())
    fail("tensor", values.size(), " values do not fill the shape ", shape);
  *this = empty(shape);
  std::copy(values.begin(), values.end(), buffer_.data());
}

Tensor Tensor::full(const Shape& shape, Real value) {
  Tensor out = empty(shape);
  std::fill_n(out.buffer_.data(), shape.size(), value);
  return out;
}

Tensor Tensor::identity(Index n) {
  Tensor out = zeros({n, n});
  for (Index i = 0; i < n; ++i) out.buffer_.data()[i * n + i] = 1;
  return out;
}

void Tensor::fail_undefined() {
  fail("tensor", "undefined: a default-constructed Tensor or Var has no values; give it one");
}

Real* Tensor::mutable_data() {
  check_defined();
  if (buffer_.shared()) {
    Buffer copy = buffer_for(shape_);
    for_each_element(size(), [to = copy.data(), from = data()](Index i) { to[i] = from[i]; });
    buffer_ = std::move(copy);
  }
  return buffer_.data();
}

Real Tensor::item() const {
  check_defined();
  if (size() != 1) fail("item", "one element expected, the shape is ", shape_);
  return *data();
}

Index Tensor::place(const char* op, std::initializer_list<Index> indices) const {
  check_defined();
  if (std::ssize(indices) != rank())
    fail(op, indices.size(), " indices for the shape ", shape_, ", expected ", rank());
  Index place = 0;
  for (int axis = 0; axis < rank(); ++axis) {
    const Index index = indices.begin()[axis];
    if (index < 0 || index >= shape_[axis])
      fail(op, "index ", index, " is out of range for axis ", axis, " of ", shape_);
    place = place * shape_[axis] + index;
  }
  return place;
}

void Tensor::set(std::initializer_list<Index> indices, Real value) {
  const Index place = this->place("set", indices);
  mutable_data()[place] = value;
}

Tensor Tensor::reshape(const Shape& shape) const {
  check_defined();
  shape.check_size();
  if (shape.size() != size()) fail("reshape", "cannot make ", shape, " of ", shape_);
  Tensor out = *this;
  out.shape_ = shape;
  return out;
}

Tensor add(const Tensor& a, const Tensor& b) {
  if (!(a.shape() == b.shape())) fail("add", "shapes differ: ", a.shape(), " and ", b.shape());
  Tensor out = Tensor::empty(a.shape());
  for_each_element(a.size(), [y = out.mutable_data(), p = a.data(), q = b.data()](Index i) {
    y[i] = p[i] + q[i];
  });
  return out;
}

void add_into(Tensor& sum, const Tensor& x) {
  if (sum.shared()) {
    sum = add(sum, x);
    return;
  }
  if (!(sum.shape() == x.shape())) fail("add", "shapes differ: ", sum.shape(), " and ", x.shape());
  for_each_element(x.size(), [y = sum.mutable_data(), p = x.data()](Index i) { y[i] += p[i]; });
}

// The axes of x are (outer, summed, inner). A float sum of many rows would lose digits: in double.
static Tensor sum_middle(const Tensor& x, Index outer, Index summed, Index inner, Shape shape) {
  Tensor out = Tensor::empty(shape);
  Real* y = out.mutable_data();
  const Real* p = x.data();
  if (inner == 1) {
    parallel_for(outer, 1 + elements_per_chunk / (1 + summed), [&](Index o, Index end) {
      for (; o < end; ++o)
        y[o] = static_cast<Real>(sum_in_lanes(summed, [&](Index i) { return p[o * summed + i]; }));
    });
    return out;
  }
  constexpr Index block = 256;  // columns, whose sums fit the first cache
  const Index blocks = (inner + block - 1) / block;
  parallel_for(outer * blocks, 1 + elements_per_chunk / (1 + summed * block),
               [&](Index task, Index end) {
                 for (; task < end; ++task) {
                   const Index o = task / blocks, first = task % blocks * block;
                   const Index width = std::min(block, inner - first);
                   double sums[block] = {};
                   for (Index s = 0; s < summed; ++s) {
                     const Real* row = p + (o * summed + s) * inner + first;
                     for (Index i = 0; i < width; ++i) sums[i] += row[i];
                   }
                   std::copy_n(sums, width, y + o * inner + first);
                 }
               });
  return out;
}

// The last axes first: their elements are neighbours, and belong to few examples.
Tensor sum_to(const Tensor& x, const Shape& shape) {
  x.data();  // fails if x is undefined
  if (x.shape() == shape) return x;
  if (!broadcasts_to(shape, x.shape()))
    fail("sum_to", "a gradient of shape ", x.shape(), " does not fit a value of shape ", shape);
  Tensor out = x;
  const int added = x.rank() - shape.rank();
  const auto is_summed = [&](int axis) { return axis < added || shape[axis - added] == 1; };
  for (int end = x.rank(); end > 0;) {  // neighbouring axes are summed together
    int begin = end;
    Shape reduced = out.shape();
    Index outer = 1, summed = 1, inner = 1;
    for (; begin > 0 && is_summed(begin - 1); --begin) {
      summed *= out.size(begin - 1);
      reduced[begin - 1] = 1;
    }
    for (int i = 0; i < begin; ++i) outer *= out.size(i);
    for (int i = end; i < x.rank(); ++i) inner *= out.size(i);
    if (summed != 1) out = sum_middle(out, outer, summed, inner, reduced);
    end = begin - 1;
  }
  return out.reshape(shape);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

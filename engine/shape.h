// The sizes of a tensor's axes, row-major: the last axis is contiguous.
//
// Sizes multiply, so a few harmless ones can make a number that no Index holds. A shape is checked
// where it is made, and once more where a Tensor gets it: loops that use it need not look again.
#pragma once

#include <algorithm>
#include <array>
#include <initializer_list>
#include <ostream>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

class Shape {
 public:
  static constexpr int max_rank = 6;
  // More elements have no addresses: 2^62 bytes, so that no count of bytes overflows either.
  static constexpr Index max_size = (Index{1} << 62) / static_cast<Index>(sizeof(Real));

  Shape() = default;  // (): one scalar
  Shape(std::initializer_list<Index> sizes) : Shape(sizes.begin(), sizes.end()) {}
  template <class It>
  Shape(It first, It last) {
    for (; first != last; ++first) push_back(*first);
  }

  int rank() const { return rank_; }
  // The number of elements; 1 for a scalar.
  Index size() const {
    Index product = 1;
    for (Index n : *this) product *= n;
    return product;
  }
  // Fails if an axis is negative, or if the axes that are not 0 make more than max_size: so even
  // the shape of nothing, such as (0, 2^32, 2^32), has no product of axes that overflows.
  void check_size() const {
    if (!is_surely_countable()) [[unlikely]]
      check_product();
  }
  // A negative axis counts from the end. Unchecked, for loops: see size(axis).
  Index operator[](int axis) const { return sizes_.data()[axis < 0 ? axis + rank_ : axis]; }
  Index& operator[](int axis) { return sizes_.data()[axis < 0 ? axis + rank_ : axis]; }
  const Index* begin() const { return sizes_.data(); }
  const Index* end() const { return sizes_.data() + rank_; }
  // The size of an axis; fails when there is no such axis.
  Index size(int axis) const { return (*this)[this->axis("size", axis)]; }
  void push_back(Index size);
  // An axis in 0..rank-1; fails with the op's name when there is no such axis.
  int axis(const char* op, int axis) const;

  friend bool operator==(const Shape& a, const Shape& b) {
    return a.rank_ == b.rank_ && std::equal(a.begin(), a.end(), b.begin());
  }

 private:
  // Small sizes have a product below max_size. A negative size is a large one when read as
  // unsigned. (Sizes behind the last axis are 0: a loop of fixed length is the quicker one.)
  bool is_surely_countable() const {
    Index all = 0;
    for (Index size : sizes_) all |= size;
    return static_cast<std::uint64_t>(all) < 512;
  }
  bool is_countable() const;
  void check_product() const;

  std::array<Index, max_rank> sizes_{};
  int rank_ = 0;
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);

// NumPy's rule: align at the last axis; sizes agree or one of them is 1.
Shape broadcast(const char* op, const Shape& a, const Shape& b);
bool broadcasts_to(const Shape& from, const Shape& to);

// How many elements apart neighbours along each axis are, in a tensor of this shape.
using Strides = std::array<Index, Shape::max_rank>;
Strides strides_of(const Shape& shape);
// The same for a tensor of shape `from` that is seen as one of shape `to`, to which it broadcasts:
// 0 along the axes where it repeats.
Strides broadcast_strides(const Shape& from, const Shape& to);

}  // namespace backflow::inline BACKFLOW_PRECISION

// The sizes of a tensor's axes, row-major: the last axis is contiguous.
#pragma once

#include <algorithm>
#include <array>
#include <initializer_list>
#include <ostream>

#include "engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

class Shape {
 public:
  static constexpr int max_rank = 6;

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
  // A negative axis counts from the end.
  Index operator[](int axis) const { return sizes_[axis < 0 ? axis + rank_ : axis]; }
  Index& operator[](int axis) { return sizes_[axis < 0 ? axis + rank_ : axis]; }
  const Index* begin() const { return sizes_.data(); }
  const Index* end() const { return sizes_.data() + rank_; }
  void push_back(Index size);
  // An axis in 0..rank-1; fails with the op's name when there is no such axis.
  int axis(const char* op, int axis) const;

  friend bool operator==(const Shape& a, const Shape& b) {
    return a.rank_ == b.rank_ && std::equal(a.begin(), a.end(), b.begin());
  }

 private:
  std::array<Index, max_rank> sizes_{};
  int rank_ = 0;
};

std::ostream& operator<<(std::ostream& out, const Shape& shape);

// NumPy's rule: align at the last axis; sizes agree or one of them is 1.
Shape broadcast(const char* op, const Shape& a, const Shape& b);
bool broadcasts_to(const Shape& from, const Shape& to);

}  // namespace backflow::inline BACKFLOW_PRECISION

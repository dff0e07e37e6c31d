// A vector that is nearly always one element long: that one needs no memory of its own. A graph has
// three of them per op, and the memory allocator was what recording an op cost most.
#pragma once

#include <cstddef>
#include <utility>
#include <vector>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

template <class T>
class Few {
 public:
  Few() = default;
  Few(T one) : first_(std::move(one)), size_(1) {}

  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* begin() { return size_ > 1 ? all_.data() : &first_; }
  T* end() { return begin() + size_; }
  const T* begin() const { return size_ > 1 ? all_.data() : &first_; }
  const T* end() const { return begin() + size_; }
  T& operator[](std::size_t i) { return begin()[i]; }
  const T& operator[](std::size_t i) const { return begin()[i]; }

  void push_back(T value) {
    if (size_ == 0) {
      first_ = std::move(value);
    } else {
      if (size_ == 1) all_.push_back(std::move(first_));
      all_.push_back(std::move(value));
    }
    ++size_;
  }

 private:
  T first_{};           // while it is alone
  std::vector<T> all_;  // two or more
  std::size_t size_ = 0;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

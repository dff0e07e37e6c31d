// Counter-based random numbers: Philox 4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy
// as 1, 2, 3", SC 2011).
//
// A number is a function of (seed, purpose, epoch, example, position) and of nothing else. So
// noise does not depend on batching or threads, and resuming needs no state but a position.
// These five are Philox's key and counter.
#pragma once

#include <array>
#include <span>

#include "backflow/engine/tensor.h"

namespace backflow::inline BACKFLOW_PRECISION {

using PhiloxBlock = std::array<std::uint32_t, 4>;
PhiloxBlock philox(PhiloxBlock counter, std::array<std::uint32_t, 2> key);

// What the numbers are for; two purposes never share a number. The engine has one, for tests and
// gradient checks; a program numbers others, Purpose{0}, Purpose{1}, ...
enum class Purpose : std::uint32_t { testing = 4 };

class Random {
 public:
  explicit Random(std::uint64_t seed, Purpose purpose = Purpose::testing, std::uint32_t epoch = 0)
      : seed_(seed), purpose_(purpose), epoch_(epoch) {}

  // The same seed and purpose, other numbers.
  Random at_epoch(std::uint32_t epoch) const { return Random(seed_, purpose_, epoch); }

  // Other numbers for each k, and others than this one's: a Random for each part of something that
  // is made from one. Streams have streams of their own.
  Random stream(std::uint32_t k) const;

  // Fill `out` with the numbers of one example: uniform on [0, 1), or normal N(0, 1) (Box-Muller).
  void uniform(std::uint32_t example, std::span<Real> out) const;
  void normal(std::uint32_t example, std::span<Real> out) const;

  // Whole tensors; their rows (axis 0) are the examples first, first + 1, ...
  Tensor uniform(const Shape& shape, std::uint32_t first = 0) const;
  Tensor normal(const Shape& shape, std::uint32_t first = 0) const;

  // 0..n-1 in random order (Fisher-Yates).
  std::vector<std::uint32_t> permutation(std::uint32_t n) const;

 private:
  std::uint64_t seed_;
  Purpose purpose_;
  std::uint32_t epoch_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

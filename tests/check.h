// Small tools that many tests share.
#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "backflow/engine/parallel.h"
#include "backflow/engine/tensor.h"

extern "C" {  // AddressSanitizer's and ThreadSanitizer's, or null
void __asan_init() __attribute__((weak));
void __tsan_init() __attribute__((weak));
}

namespace backflow::inline BACKFLOW_PRECISION {

// Whether the library under test was built with sanitizers.
inline const bool sanitized = __asan_init != nullptr || __tsan_init != nullptr;

inline constexpr bool in_double = sizeof(Real) == sizeof(double);

// The message of the Error that f throws.
template <class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

// So many threads while it is alive.
struct WithThreads {
  explicit WithThreads(int count) : before(threads()) { set_threads(count); }
  ~WithThreads() { set_threads(before); }
  WithThreads(const WithThreads&) = delete;
  WithThreads& operator=(const WithThreads&) = delete;
  int before;
};

// f() returns Tensors.
template <class F>
void expect_same_bits_on_any_threads(const F& f) {
  const auto values_on = [&](int count) {
    const WithThreads with(count);
    std::vector<std::vector<Real>> values;
    for (const Tensor& tensor : f()) values.push_back(tensor.values());
    return values;
  };
  const auto alone = values_on(1);
  for (int count : {2, 3, 16}) EXPECT_EQ(alone, values_on(count)) << "on " << count << " threads";
}

// Within `tolerance` of the size of each expected value, or of 1 where it is smaller.
inline void expect_close(const Tensor& actual, const Tensor& expected, double tolerance,
                         const std::string& what) {
  ASSERT_EQ(actual.shape(), expected.shape()) << what;
  for (Index i = 0; i < actual.size(); ++i)
    ASSERT_NEAR(actual[i], expected[i], tolerance * std::max(1.0, std::abs(double{expected[i]})))
        << what << ", element " << i << " of " << actual.shape();
}

inline Index live_bytes() { return memory_use().live_bytes; }

inline Index bytes_of(const Shape& shape) {  // in the pool, which rounds up
  const Index before = live_bytes();
  const Tensor x = Tensor::empty(shape);
  return live_bytes() - before;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/ops/subnormals.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cfenv>
#include <cmath>
#include <future>
#include <limits>
#include <thread>

#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Real smallest = std::numeric_limits<Real>::min();  // that is normal
constexpr Index many = 200 * elements_per_chunk;

#if defined(__x86_64__) || defined(__aarch64__)
constexpr bool can_flush = true;
#else
constexpr bool can_flush = false;
#endif

// True where subnormals are 0; the compiler knows none of the numbers.
bool product_is_flushed() {
  const volatile Real small = smallest, half = Real(0.5);
  return small * half == 0;
}
bool operand_is_flushed() {
  const volatile Real small = std::numeric_limits<Real>::denorm_min();
  const volatile Real large = 1 / std::numeric_limits<Real>::epsilon();
  return small * large == 0;
}

// How many of `many` products of a pointwise op are 0.
Index flushed_products() {
  const Tensor products = Tensor::full({many}, -smallest) * Real(0.5);
  Index zeros = 0;
  for (Index i = 0; i < many; ++i) zeros += products[i] == 0 ? 1 : 0;
  return zeros;
}

TEST(FlushSubnormals, IsOffUnlessAskedFor) {
  EXPECT_FALSE(product_is_flushed());
  EXPECT_FALSE(operand_is_flushed());
  EXPECT_EQ(flushed_products(), 0);
}

TEST(FlushSubnormals, FlushesResultsAndOperands) {
  if (!can_flush) GTEST_SKIP() << "this processor's control register is not known";
  const FlushSubnormals flush;
  EXPECT_TRUE(product_is_flushed());
  EXPECT_TRUE(operand_is_flushed());
}

TEST(FlushSubnormals, HoldsForCallerAndPoolAlike) {
  for (int count : {1, 2, 3}) {
    const WithThreads with(count);
    EXPECT_EQ(flushed_products(), 0) << count << " threads";
    {
      const FlushSubnormals flush;
      EXPECT_EQ(flushed_products(), can_flush ? many : 0) << count << " threads";
    }
    EXPECT_EQ(flushed_products(), 0) << count << " threads, afterwards";
  }
}

TEST(FlushSubnormals, EveryThreadOfThePoolTakesTheCallersMode) {
  const WithThreads with(3);
  const auto chunks_that_flush = [] {
    std::atomic<Index> flushing = 0;
    parallel_for(30, 1, [&](Index, Index) {
      flushing += product_is_flushed() ? 1 : 0;
      std::this_thread::yield();  // so that each has some
    });
    return flushing.load();
  };
  for (int turn = 0; turn < 10; ++turn) {
    EXPECT_EQ(chunks_that_flush(), 0);
    const FlushSubnormals flush;
    EXPECT_EQ(chunks_that_flush(), can_flush ? 30 : 0);
  }
}

TEST(FlushSubnormals, BitsDoNotDependOnTheNumberOfThreads) {
  Tensor a = Random(1).normal({300, 200}), b = Random(2).normal({200, 300});
  a = a * std::sqrt(smallest), b = b * std::sqrt(smallest);  // some products are subnormal
  const auto values = [&] { return std::vector<Tensor>{matmul(a, b), a * a}; };
  expect_same_bits_on_any_threads(values);
  const FlushSubnormals flush;
  expect_same_bits_on_any_threads(values);
}

TEST(FlushSubnormals, NestedGuardsRestoreWhatWasBefore) {
  {
    const FlushSubnormals outer;
    {
      const FlushSubnormals inner;
      EXPECT_EQ(product_is_flushed(), can_flush);
    }
    EXPECT_EQ(product_is_flushed(), can_flush);
    EXPECT_EQ(operand_is_flushed(), can_flush);
    EXPECT_EQ(flushed_products(), can_flush ? many : 0);
  }
  EXPECT_FALSE(product_is_flushed());
  EXPECT_FALSE(operand_is_flushed());
  EXPECT_EQ(flushed_products(), 0);
}

TEST(FlushSubnormals, ExceptionsEndTheGuard) {
  const auto fail_in_a_chunk = [] {
    const FlushSubnormals flush;
    parallel_for(100, 1, [](Index, Index) {
      const FlushSubnormals again;
      fail("chunk", "no");
    });
  };
  for (int count : {1, 2, 3}) {
    const WithThreads with(count);
    EXPECT_EQ(error_of(fail_in_a_chunk), "[chunk] no");
    EXPECT_FALSE(product_is_flushed()) << count << " threads";
    EXPECT_EQ(flushed_products(), 0) << count << " threads";
  }
}

// Not those that exist already, and do not work for this one. (A new thread begins as its maker
// is.)
TEST(FlushSubnormals, OtherThreadsAreLeftAlone) {
  std::promise<void> guarded;
  std::future<bool> flushed = std::async(std::launch::async, [&] {
    guarded.get_future().wait();
    return product_is_flushed();
  });
  const FlushSubnormals flush;
  guarded.set_value();
  EXPECT_FALSE(flushed.get());
  EXPECT_EQ(product_is_flushed(), can_flush);
}

TEST(FlushSubnormals, TheRoundingModeStays) {
  std::fesetround(FE_UPWARD);
  {
    const FlushSubnormals flush;
    EXPECT_EQ(std::fegetround(), FE_UPWARD);
    std::fesetround(FE_DOWNWARD);
  }
  EXPECT_EQ(std::fegetround(), FE_DOWNWARD);
  std::fesetround(FE_TONEAREST);
}

TEST(FlushSubnormals, NormalNumbersInfinitiesAndNaNsStay) {
  const FlushSubnormals flush;
  const Real infinity = std::numeric_limits<Real>::infinity();
  const Tensor x({6}, {smallest, -smallest, 1, infinity, -infinity, std::nan("")});
  const Tensor y = x * Real(1);
  for (Index i = 0; i < 5; ++i) EXPECT_EQ(y[i], x[i]);
  EXPECT_TRUE(std::isnan(y[5]));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

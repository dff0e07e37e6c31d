#include "backflow/engine/buffer.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <new>
#include <thread>
#include <vector>

#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Index real_bytes = sizeof(Real);

TEST(Buffer, LiveBytesFollowTheOwners) {
  const Index before = memory_use().live_bytes;
  {
    const Buffer a(1000);
    const Index held = memory_use().live_bytes - before;
    EXPECT_GE(held, 1000 * real_bytes);
    const Buffer copy = a;
    EXPECT_EQ(memory_use().live_bytes - before, held);
    const Buffer b(1000);
    EXPECT_EQ(memory_use().live_bytes - before, 2 * held);
  }
  EXPECT_EQ(memory_use().live_bytes, before);
}

TEST(Buffer, WastesAtMostAnEighthAndAHeader) {
  for (Index count = 1; count < 3000; count += 7) {
    const Index before = memory_use().live_bytes;
    const Buffer buffer(count);
    const Index held = memory_use().live_bytes - before;
    ASSERT_GE(held, count * real_bytes + 64);
    ASSERT_LE(held, (count * real_bytes + 64) * 9 / 8 + 64) << count << " Reals";
  }
}

TEST(Buffer, EveryRealBelongsToIt) {
  std::vector<Buffer> buffers;
  for (Index count : {0, 1, 15, 16, 17, 1000, 1000, 1023})
    std::fill_n(buffers.emplace_back(count).data(), count, Real(count));
  for (const Buffer& buffer : buffers) {
    const Index count = static_cast<Index>(buffer.data()[0]);
    if (&buffer == &buffers[0]) continue;  // holds nothing
    for (Index i = 0; i < count; ++i) ASSERT_EQ(buffer.data()[i], Real(count));
  }
}

TEST(Buffer, PeakIsTheMostSinceItWasReset) {
  { const Buffer large(100000); }
  reset_peak_bytes();
  const Index before = memory_use().live_bytes;
  EXPECT_EQ(memory_use().peak_bytes, before);
  Index both = 0;
  {
    const Buffer a(5000), b(3000);
    both = memory_use().live_bytes;
  }
  const Buffer small(10);
  EXPECT_EQ(memory_use().peak_bytes, both);
  reset_peak_bytes();
  EXPECT_EQ(memory_use().peak_bytes, memory_use().live_bytes);
}

TEST(Buffer, SecondAllocationOfASizeAsksTheSystemNothing) {
  release_pooled_buffers();
  const Real* first = nullptr;
  {
    const Buffer buffer(4321);
    first = buffer.data();
  }
  const Index asked = memory_use().system_allocations;
  const Buffer again(4321);
  EXPECT_EQ(memory_use().system_allocations, asked);
  EXPECT_EQ(again.data(), first);
  const Buffer another(4321);
  EXPECT_EQ(memory_use().system_allocations, asked + 1);
}

TEST(Buffer, NearSizesShareBlocks) {
  release_pooled_buffers();
  { const Buffer buffer(100000); }
  const Index asked = memory_use().system_allocations;
  const Buffer near(100100);
  EXPECT_EQ(memory_use().system_allocations, asked);
}

TEST(Buffer, ReleasedPoolGivesItsBlocksBack) {
  { const Buffer buffer(777); }
  EXPECT_GT(memory_use().pooled_bytes, 0);
  release_pooled_buffers();
  EXPECT_EQ(memory_use().pooled_bytes, 0);
  const Index asked = memory_use().system_allocations;
  const Buffer buffer(777);
  EXPECT_EQ(memory_use().system_allocations, asked + 1);
}

TEST(Buffer, FreedMemoryIsPooled) {
  release_pooled_buffers();
  const Index live = memory_use().live_bytes;
  { const Buffer buffer(777); }
  EXPECT_GE(memory_use().pooled_bytes, 777 * real_bytes);
  const Index pooled = memory_use().pooled_bytes;
  const Buffer buffer(777);
  EXPECT_EQ(memory_use().pooled_bytes, 0);
  EXPECT_EQ(memory_use().live_bytes - live, pooled);
}

TEST(Buffer, SharedWhileAnotherHandleLives) {
  Buffer a(10);
  EXPECT_FALSE(a.shared());
  {
    const Buffer b = a;
    EXPECT_TRUE(a.shared());
    EXPECT_TRUE(b.shared());
    EXPECT_EQ(a.data(), b.data());
  }
  EXPECT_FALSE(a.shared());
  const Buffer moved = std::move(a);
  EXPECT_FALSE(moved.shared());
  EXPECT_FALSE(static_cast<bool>(a));
}

TEST(Buffer, AssignmentReleasesTheOldBlock) {
  const Index before = memory_use().live_bytes;
  Buffer a(10);
  const Index held = memory_use().live_bytes - before;
  a = Buffer(10);
  EXPECT_EQ(memory_use().live_bytes - before, held);
  const Buffer& itself = a;
  a = itself;
  EXPECT_FALSE(a.shared());
  a = Buffer();
  EXPECT_EQ(memory_use().live_bytes, before);
}

TEST(Buffer, ThreadsReuseBlocksAndNeverShareOne) {
  constexpr int count = 4, rounds = 2000, size = 5000;
  { const std::vector<Buffer> warm{Buffer(size), Buffer(size), Buffer(size), Buffer(size)}; }
  const Index asked = memory_use().system_allocations;
  std::atomic<int> collisions = 0;
  std::vector<std::thread> users;
  for (int t = 0; t < count; ++t)
    users.emplace_back([&collisions, t] {
      for (int i = 0; i < rounds; ++i) {
        const Buffer mine(size);
        mine.data()[0] = mine.data()[size - 1] = Real(t);
        if (i % 64 == 0) std::this_thread::yield();
        if (mine.data()[0] != t || mine.data()[size - 1] != t) ++collisions;
      }
    });
  for (std::thread& user : users) user.join();
  EXPECT_EQ(collisions, 0);
  EXPECT_EQ(memory_use().system_allocations, asked);
}

TEST(Buffer, LastHandleMayDieOnAnyThread) {
  for (int round = 0; round < 100; ++round) {
    std::vector<Buffer> handles(4, Buffer(64));
    std::vector<std::thread> droppers;
    for (Buffer& handle : handles)
      droppers.emplace_back([own = std::move(handle)]() mutable { own = Buffer(); });
    for (std::thread& dropper : droppers) dropper.join();
  }
}  // the leak listener counts the blocks

TEST(Buffer, ImpossibleRequestThrowsAndCountsNothing) {
  if (sanitized) GTEST_SKIP() << "a sanitizer aborts instead of returning null";
  const Index before = memory_use().live_bytes;
  const Index peak = memory_use().peak_bytes;
  EXPECT_THROW(Buffer(Index{1} << 50), std::bad_alloc);
  EXPECT_EQ(memory_use().live_bytes, before);
  EXPECT_EQ(memory_use().peak_bytes, peak);
  const Buffer works(10);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

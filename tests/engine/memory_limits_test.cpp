// What sizes and amounts of memory may be asked for, and what the pool does at its bounds.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <new>

#include "backflow/engine/tensor.h"
#include "backflow/engine/var.h"
#include "backflow/ops/random.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Index mega = Index{1} << 20, huge = Index{1} << 32;

Index reals_of(Index bytes) { return bytes / static_cast<Index>(sizeof(Real)); }

// What f() returns in a child process that may map `bytes` more than it has, or -1.
template <class F>
int with_memory(Index bytes, F f) {
  const pid_t child = fork();
  if (child == 0) {
    Index pages = 0;
    std::ifstream("/proc/self/statm") >> pages;
    const auto most = static_cast<rlim_t>(pages * sysconf(_SC_PAGESIZE) + bytes);
    const rlimit limit{most, most};
    _exit(setrlimit(RLIMIT_AS, &limit) == 0 ? f() : 99);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Pool, GivesFreeBlocksBackBeforeItGivesUp) {
  if (sanitized) return;  // a sanitizer maps memory of its own
  release_pooled_buffers();
  EXPECT_EQ(with_memory(400 * mega,
                        [] {
                          { const Buffer a(reals_of(100 * mega)), b(reals_of(150 * mega)); }
                          try {
                            const Buffer larger(reals_of(300 * mega));
                            return memory_use().pooled_bytes == 0 ? 0 : 1;
                          } catch (const std::bad_alloc&) {
                            return 2;
                          }
                        }),
            0);
}

TEST(Pool, NeverKeepsMoreFreeBytesThanWereLiveAtOnce) {
  if (sanitized) return;  // a sanitizer touches what nobody writes
  release_pooled_buffers();
  for (Index eighths = 8; eighths < 16; ++eighths) {  // no page of these is ever touched
    { const Buffer buffer(reals_of(eighths * 128 * mega)); }
    ASSERT_LE(memory_use().pooled_bytes, eighths * 144 * mega + mega);
  }
  reset_peak_bytes();  // forgets no bound
  { const Buffer buffer(reals_of(1024 * mega)); }
  EXPECT_GE(memory_use().pooled_bytes, 1024 * mega);
  release_pooled_buffers();
}

TEST(Pool, FreeBlocksMakeRoomForOthersBeforeItGrows) {
  if (sanitized) return;  // a sanitizer touches what nobody writes
  release_pooled_buffers();
  const Index most = std::max(memory_use().live_bytes, 2048 * mega);  // more than all tests held
  { const Buffer buffer(reals_of(most)); }
  const Buffer third(reals_of(most / 3));
  const MemoryUse use = memory_use();
  EXPECT_LE(use.live_bytes + use.pooled_bytes, most + most / 8 + 64 * mega);
  release_pooled_buffers();
}

TEST(Pool, LendsBlocksForThoseHalfAsLargeWhenManyBytesAreFree) {
  if (sanitized) return;  // a sanitizer touches what nobody writes
  release_pooled_buffers();
  { const Buffer large(reals_of(210 * mega)); }
  const Index asked = memory_use().system_allocations;
  { const Buffer half(reals_of(110 * mega)); }
  EXPECT_EQ(memory_use().system_allocations, asked);
  { const Buffer less(reals_of(90 * mega)); }
  EXPECT_EQ(memory_use().system_allocations, asked + 1);
  release_pooled_buffers();
}

// A loop over sizes that are never live together, for longer than the pool's patience.
TEST(Pool, LeavesOldSizesBehindAndThenAsksTheSystemNothing) {
  if (sanitized) return;  // a sanitizer touches what nobody writes
  release_pooled_buffers();
  const Index most = std::max(memory_use().live_bytes, 2048 * mega);  // more than all tests held
  { const Buffer old(reals_of(most)); }
  const auto step = [most] { const Buffer a(reals_of(most / 2)), b(reals_of(most / 3)), c(1000); };
  for (int i = 0; i < 20000; ++i) const Buffer small(10);
  for (int i = 0; i < 3; ++i) step();
  const Index asked = memory_use().system_allocations;
  for (int i = 0; i < 10; ++i) step();
  EXPECT_EQ(memory_use().system_allocations, asked);
  EXPECT_LE(memory_use().pooled_bytes, most + most / 8);
  release_pooled_buffers();
}

// More than the bound in all, though never live together.
TEST(Pool, LendsLargerBlocksRatherThanAskForSmallerOnesAgainAndAgain) {
  if (sanitized) return;  // a sanitizer touches what nobody writes
  release_pooled_buffers();
  const Index most = std::max(memory_use().live_bytes, 2048 * mega);
  const auto step = [most] {
    for (Index quarters : {4, 3, 2}) const Buffer buffer(reals_of(most / 4 * quarters));
  };
  for (int i = 0; i < 3; ++i) step();
  const Index asked = memory_use().system_allocations;
  for (int i = 0; i < 10; ++i) step();
  EXPECT_EQ(memory_use().system_allocations, asked);
  release_pooled_buffers();
}

TEST(Sizes, NobodyHoldsAreRefusedWithALine) {
  const auto refused = [](auto f) { return error_of(f).starts_with("[shape] "); };
  EXPECT_TRUE(refused([] { return Tensor::zeros({huge, huge}); }));
  EXPECT_TRUE(refused([] { return Tensor::empty({Index{1} << 62}); }));
  EXPECT_TRUE(refused([] { return Tensor::zeros({0}).reshape({huge, huge}); }));
  EXPECT_TRUE(refused([] { return Tensor::zeros({0, huge, huge}); }));
  EXPECT_TRUE(refused([] { return Tensor::identity(huge); }));
  EXPECT_TRUE(refused([] { return Tensor::identity(-1); }));
  EXPECT_TRUE(refused([] { return Random(1).uniform({huge, huge}); }));
  EXPECT_TRUE(refused([] { return broadcast("add", {huge, 1}, {1, huge}); }));
  Shape written{2, 3};
  written[0] = -2;
  EXPECT_TRUE(refused([&] { return Tensor::empty(written); }));
  written[0] = Index{1} << 62;
  EXPECT_TRUE(refused([&] { return Tensor::empty(written); }));
  EXPECT_TRUE(refused([&] { return Tensor(written, {}); }));
}

TEST(Sizes, AreAskedForOfAxesThatExist) {
  const Tensor matrix = Tensor::zeros({2, 3});
  EXPECT_EQ(matrix.size(-2), 2);
  EXPECT_EQ(matrix.size(1), 3);
  for (int axis : {9, 2, -3})
    EXPECT_EQ(error_of([&] { return matrix.size(axis); }),
              "[size] no axis " + std::to_string(axis) + " in the shape (2, 3)");
  EXPECT_EQ(error_of([&] { return Var(matrix).size(9); }), "[size] no axis 9 in the shape (2, 3)");
}

TEST(Sizes, TooLargeForTheMachineNameTheirShape) {
  if (sanitized) return;  // a sanitizer aborts instead of returning null
  const Index before = memory_use().live_bytes;
  std::string line;
  try {
    Tensor::empty({2, Index{1} << 48});
  } catch (const std::bad_alloc& error) {
    line = error.what();
  }
  EXPECT_TRUE(line.starts_with("[tensor] out of memory: ")) << line;
  EXPECT_TRUE(line.ends_with(" GB asked for the shape (2, 281474976710656)")) << line;
  EXPECT_EQ(memory_use().live_bytes, before);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/ops/workspace.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <thread>

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

TEST(Workspace, BelongsToItsThreadAndIsUsedAgain) {
  const Real *first, *second;
  {
    const Workspace a(1000), b(10);
    first = a.data();
    second = b.data();
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 64, 0u);
    EXPECT_NE(first, second);
    a.data()[999] = 1;
    std::thread([&] { EXPECT_NE(Workspace(1000).data(), first); }).join();
  }
  const Workspace again(500), also(10);
  EXPECT_EQ(again.data(), first);
  EXPECT_EQ(also.data(), second);
}

TEST(Workspace, GrowsWithoutMovingThoseInUse) {
  const Workspace a(10);
  a.data()[0] = 7;
  for (Index count : {10, 1000, 100000}) {
    const Workspace b(count);
    b.data()[count - 1] = 1;
  }
  EXPECT_EQ(a.data()[0], 7);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

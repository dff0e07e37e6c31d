// Fails every test that ends with more, or less, Tensor memory than it began with.
#include <gtest/gtest.h>

#include "backflow/engine/buffer.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

class LeakListener : public ::testing::EmptyTestEventListener {
  void OnTestStart(const ::testing::TestInfo&) override { before_ = memory_use().live_bytes; }
  void OnTestEnd(const ::testing::TestInfo& test) override {
    EXPECT_EQ(memory_use().live_bytes, before_)
        << "bytes of Tensors live after and before " << test.name();
  }

  Index before_ = 0;
};

class LeakEnvironment : public ::testing::Environment {
  void SetUp() override {
    ::testing::UnitTest::GetInstance()->listeners().Append(new LeakListener);
  }
};

const auto* const environment = ::testing::AddGlobalTestEnvironment(new LeakEnvironment);

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

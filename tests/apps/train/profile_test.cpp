#include "backflow/apps/train/profile.h"

#include <gtest/gtest.h>

#include "backflow/engine/backward.h"
#include "backflow/ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

TEST(Profiler, CountsCallsAndBytesForwardAndBackwardApart) {
  const Var x = Var::leaf(Tensor({2}, {1, 2})), y = Var::leaf(Tensor({2}, {3, 4}));
  Profile profile;
  {
    Profiler profiler(profile);
    backward(exp(x * y) + exp(x), Tensor({2}, {1, 1}));
    trace_work("rest");
  }
  exp(x);  // nobody looks any more
  const auto cost = [&](const char* op, const char* phase) { return profile.costs[{op, phase}]; };
  const Index bytes = 2 * sizeof(Real);
  EXPECT_EQ(cost("exp", "forward").calls, 2);
  EXPECT_EQ(cost("exp", "forward").bytes, 2 * bytes);
  EXPECT_EQ(cost("exp", "backward").calls, 2);
  EXPECT_EQ(cost("exp", "backward").bytes, 2 * bytes) << "of each rule's gradient";
  EXPECT_EQ(cost("multiply", "forward").calls, 1);
  EXPECT_EQ(cost("multiply", "forward").bytes, bytes);
  EXPECT_EQ(cost("multiply", "backward").bytes, 2 * bytes);
  EXPECT_EQ(cost("multiply", "backward").calls, 2) << "one rule per input";
  EXPECT_EQ(cost("rest", "").calls, 1);
  EXPECT_EQ(cost("rest", "").bytes, 0);
  EXPECT_EQ(profile.costs.size(), 7u);
}

TEST(Profiler, AddsUpToTheWholeTime) {
  const Var x = Var::leaf(Tensor::full({500, 1000}, 1));
  Profile profile;
  const auto start = std::chrono::steady_clock::now();
  {
    Profiler profiler(profile);
    for (int i = 0; i < 5; ++i) backward(exp(log(x)), x.value());
    trace_work("rest");
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  EXPECT_LE(profile.seconds(), elapsed.count());
  EXPECT_GE(profile.seconds(), 0.9 * elapsed.count());
}

TEST(Profiler, GivesTheTimeToTheOpThatTookIt) {
  const Var slow = Var::leaf(Tensor::full({1000, 1000}, 1)), fast = Var::leaf(Tensor(1));
  Profile profile;
  {
    Profiler profiler(profile);
    const Var large = exp(slow);  // kept: to free so much memory takes its time, too
    log(fast);
  }
  const auto order = profile.slowest_first();
  ASSERT_EQ(order.size(), 2u);
  EXPECT_EQ(order[0].first.op, "exp");
  EXPECT_GT(order[0].second.seconds, 10 * order[1].second.seconds);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

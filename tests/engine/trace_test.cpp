#include "backflow/engine/trace.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "backflow/engine/backward.h"
#include "backflow/ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Writes down the names it is told.
class Names : public Tracer {
 public:
  void on_forward(const char* op, std::span<const Tensor>) override { forward.push_back(op); }
  void on_backward(const char* op, std::span<const Tensor>) override { backward.push_back(op); }
  std::vector<std::string> forward, backward;
};

using Strings = std::vector<std::string>;

TEST(Tracer, SeesEveryOpAndEveryRule) {
  const Var x = Var::leaf(Tensor(2)), y = Var::leaf(Tensor(3));
  Names names;
  const Var z = exp(x * y);
  backward(z);
  EXPECT_EQ(names.forward, (Strings{"multiply", "exp"}));
  EXPECT_EQ(names.backward, (Strings{"exp", "multiply", "multiply"}));  // one rule per input
}

TEST(Tracer, SeesOpsOnConstants) {
  Names names;
  exp(Var(Tensor(1)));
  EXPECT_EQ(names.forward, Strings{"exp"});
}

TEST(Tracer, InnermostIsActiveWhileItLives) {
  const Var x = Var::leaf(Tensor(2));
  EXPECT_EQ(Tracer::active(), nullptr);
  {
    Names outer;
    {
      Names inner;
      exp(x);
      EXPECT_EQ(inner.forward, Strings{"exp"});
    }
    log(x);
    EXPECT_EQ(outer.forward, Strings{"log"});
  }
  EXPECT_EQ(Tracer::active(), nullptr);
}

TEST(Tracer, IsOfOneThread) {
  const Names names;
  std::thread([] { exp(Var(Tensor(1))); }).join();
  EXPECT_TRUE(names.forward.empty());
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

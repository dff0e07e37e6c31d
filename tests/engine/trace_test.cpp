#include "backflow/engine/trace.h"

#include <gtest/gtest.h>

#include <chrono>
#include <limits>
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

TEST(FirstNonFinite, NamesTheForwardOp) {
  const Var x = Var::leaf(Tensor({2}, {1, -1}));
  FirstNonFinite tracer;
  exp(x);
  EXPECT_FALSE(tracer.found());
  const Var bad = log(exp(x) - Real(1));
  EXPECT_EQ(tracer.found(), "the value of 'log'");
  exp(bad);
  EXPECT_EQ(tracer.found(), "the value of 'log'") << "the first one counts";
}

TEST(FirstNonFinite, NamesTheOpWhoseGradientIsBad) {
  const Var x = Var::leaf(Tensor({2}, {0, 1}));
  const Var y = exp(sqrt(square(x)));  // every value is finite, sqrt'(0) is not
  const Tensor ones({2}, {1, 1});
  FirstNonFinite tracer;
  EXPECT_FALSE(all_finite(backward(y, ones)[x]));
  EXPECT_EQ(tracer.found(), "a gradient computed by 'sqrt'");
}

TEST(FirstNonFinite, LooksAtEveryOutput) {
  const Real nan = std::numeric_limits<Real>::quiet_NaN();
  FirstNonFinite tracer;
  record("two", {Tensor(1), Tensor(nan)});
  EXPECT_EQ(tracer.found(), "the value of 'two'");
}

TEST(FirstNonFinite, FindsNothingInAHealthyGraph) {
  const Var x = Var::leaf(Tensor({2}, {1, 2})), constant = Tensor(3);
  FirstNonFinite tracer;
  backward(exp(x) * constant, Tensor({2}, {1, 1}));
  EXPECT_FALSE(tracer.found());
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

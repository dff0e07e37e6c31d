#include "backflow/engine/trace.h"

#include <gtest/gtest.h>

#include <chrono>
#include <thread>

#include "backflow/engine/backward.h"
#include "backflow/ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

int count_of(const std::string& text, const std::string& part) {
  int count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

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

TEST(ToDot, DrawsOpsShapesArrowsAndBoxesForLeaves) {
  const Var x = Var::leaf(Tensor::zeros({2, 3})), w = Var::leaf(Tensor::zeros({3}));
  const Var h = x * w;
  const std::string dot = to_dot(exp(h) + h);
  EXPECT_EQ(dot.rfind("digraph history {", 0), 0u) << dot;
  EXPECT_EQ(dot.substr(dot.size() - 2), "}\n");
  for (const char* op : {"add", "exp", "multiply"})
    EXPECT_EQ(count_of(dot, std::string("[label=\"") + op + "\\n(2, 3)\"]"), 1) << op << dot;
  EXPECT_EQ(count_of(dot, "[label=\"leaf\\n(2, 3)\", shape=box]"), 1) << dot;
  EXPECT_EQ(count_of(dot, "[label=\"leaf\\n(3)\", shape=box]"), 1) << dot;
  EXPECT_EQ(count_of(dot, "shape=box"), 2);
  EXPECT_EQ(count_of(dot, " -> "), 5);
  const auto arrow = [](const Var& from, const Var& to) {
    std::ostringstream line;
    line << "  n" << from.node()->number << " -> n" << to.node()->number << ";\n";
    return line.str();
  };
  EXPECT_EQ(count_of(dot, arrow(x, h)), 1);
  EXPECT_EQ(count_of(dot, arrow(h, x)), 0);
}

TEST(ToDot, LeavesConstantsOut) {
  const Var x = Var::leaf(Tensor(1)), constant = Tensor(2);
  EXPECT_EQ(count_of(to_dot(x * constant), " -> "), 1);
  const Var joint = record("joint", Tensor(1),
                           joint_grad({x, constant}, [](const Tensor& g) { return grads(g, g); }));
  EXPECT_EQ(count_of(to_dot(joint), " -> "), 1);
  EXPECT_EQ(count_of(to_dot(constant), " -> "), 0);
}

TEST(ToDot, DrawsALongChain) {
  Var y = Var::leaf(Tensor(1));
  for (int i = 0; i < 100000; ++i) y = -y;
  const std::string dot = to_dot(y);
  EXPECT_EQ(count_of(dot, "negate"), 100000);
  EXPECT_EQ(count_of(dot, " -> "), 100000);
  EXPECT_EQ(count_of(dot, "shape=box"), 1);
}

TEST(ToDot, DrawsEachNodeOfADiamondOnce) {
  Var y = Var::leaf(Tensor(1));
  for (int i = 0; i < 50; ++i) y = y + y;
  EXPECT_EQ(count_of(to_dot(y), "\"add\\n"), 50);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

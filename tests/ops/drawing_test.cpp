#include "backflow/ops/drawing.h"

#include <gtest/gtest.h>

#include "backflow/engine/record.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

int count_of(const std::string& text, const std::string& part) {
  int count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
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

// ---- Names of parameters ----------------------------------------------------------------------

struct Layer : Module {
  explicit Layer(const std::string& name = "weight")
      : w(add_parameter(name, Tensor::zeros({3, 2}))) {}
  Parameter& w;
};

struct Network : Module {
  Network() {
    add_module("0", a);
    add_module("1", b);
  }
  Layer a, b;
};

TEST(ToDot, NamesTheParametersAmongTheLeaves) {
  const Network net;
  const Var x = Var::leaf(Tensor::zeros({5, 3}));
  const Var y = matmul(x, net.a.w) + matmul(x, net.b.w);
  const std::string dot = to_dot(y, net.parameters());
  EXPECT_EQ(count_of(dot, "[label=\"0.weight\\n(3, 2)\", shape=box]"), 1) << dot;
  EXPECT_EQ(count_of(dot, "[label=\"1.weight\\n(3, 2)\", shape=box]"), 1) << dot;
  EXPECT_EQ(count_of(dot, "[label=\"leaf\\n(5, 3)\", shape=box]"), 1) << dot;
  EXPECT_EQ(count_of(to_dot(y), "weight"), 0);
  EXPECT_EQ(count_of(to_dot(matmul(x, net.a.w), net.parameters()), "1.weight"), 0)
      << "the root does not depend on it";
}

TEST(ToDot, ANameWithQuotesStaysInItsLabel) {
  const Layer layer("a\"b\\c\nd");
  const std::string dot = to_dot(exp(layer.w), layer.parameters());
  EXPECT_EQ(count_of(dot, R"x([label="a\"b\\c\nd\n(3, 2)", shape=box])x"), 1) << dot;
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

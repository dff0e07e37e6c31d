#include "engine/module.h"

#include <gtest/gtest.h>

#include "engine/backward.h"
#include "ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct Leaf : Module {
  Parameter& weight = add_parameter("weight", Tensor({2}, {1, 2}));
  Parameter& bias = add_parameter("bias", Tensor(3));
  Leaf() { ignore_name("running_mean"); }
};

struct Middle : Module {
  Leaf first, second;
  Parameter& scale = add_parameter("scale", Tensor(4));
  Middle() {
    add_module("0", first);
    add_module("1", second);
    ignore_name("version");
  }
};

struct Outer : Module {
  Middle middle;
  Leaf last;
  Outer() {
    add_module("flow", middle);
    add_module("last", last);
  }
};

std::vector<std::string> names_of(const Module& module) {
  std::vector<std::string> names;
  for (const auto& [name, parameter] : module.parameters()) names.push_back(name);
  return names;
}

TEST(Module, NamesNestWithDotsInTheOrderOfRegistration) {
  EXPECT_EQ(names_of(Outer()),
            (std::vector<std::string>{"flow.scale", "flow.0.weight", "flow.0.bias", "flow.1.weight",
                                      "flow.1.bias", "last.weight", "last.bias"}));
  EXPECT_EQ(names_of(Module()), std::vector<std::string>());
}

TEST(Module, ParametersAreTheModulesOwn) {
  Outer outer;
  const auto all = outer.parameters();
  EXPECT_EQ(all[0].parameter, &outer.middle.scale);
  EXPECT_EQ(all[4].parameter, &outer.middle.second.bias);
  EXPECT_EQ(all[6].parameter, &outer.last.bias);
}

TEST(Module, AddressesStayWhenParametersAreAdded) {
  struct Growing : Module {
    Parameter& first = add_parameter("first", Tensor(1));
    void grow() {
      for (int i = 0; i < 100; ++i) add_parameter(std::to_string(i), Tensor(Real(i)));
    }
  } module;
  const Parameter* before = &module.first;
  module.grow();
  EXPECT_EQ(module.parameters()[0].parameter, before);
  EXPECT_EQ(module.first.value().item(), 1);
  EXPECT_EQ(module.parameters()[100].parameter->value().item(), 99);
}

TEST(Module, IgnoredNamesNestToo) {
  EXPECT_EQ(Outer().ignored_names(),
            (std::vector<std::string>{"flow.version", "flow.0.running_mean", "flow.1.running_mean",
                                      "last.running_mean"}));
}

TEST(Parameter, KeepsItsIdentityWhenItsValueChanges) {
  Parameter p(Tensor(2));
  const NodePtr node = p.var().node();
  p.update([](std::span<Real> values) { values[0] = 5; });
  EXPECT_EQ(p.var().node(), node);
  EXPECT_EQ(p.value().item(), 5);
  const Var y = square(p);
  EXPECT_EQ(backward(y)[p].item(), 10);
}

TEST(Parameter, VersionGrowsWithEveryChangeAndOnlyThen) {
  Parameter p(Tensor(2));
  const auto first = p.version();
  EXPECT_EQ(p.value().item(), 2);
  backward(square(p));
  EXPECT_EQ(p.version(), first);
  p.set(Tensor(3));
  const auto second = p.version();
  EXPECT_GT(second, first);
  p.update([](std::span<Real> values) { values[0] = 4; });
  EXPECT_GT(p.version(), second);
}

TEST(Parameter, WritingLeavesAHistoryThatUsesTheOldValueAlone) {
  Parameter p(Tensor({2}, {1, 2}));
  const Var y = square(p);
  p.update([](std::span<Real> values) { values[0] = 100; });
  EXPECT_EQ(backward(y, Tensor({2}, {1, 1}))[p].values(), (std::vector<Real>{2, 4}));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

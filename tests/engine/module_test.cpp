#include "backflow/engine/module.h"

#include <gtest/gtest.h>

#include "backflow/engine/backward.h"
#include "backflow/engine/optimizer.h"
#include "backflow/ops/pointwise.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct Leaf : Module {
  Parameter& weight = add_parameter("weight", Tensor({2}, {1, 2}));
  Parameter& bias = add_parameter("bias", Tensor(3));
};

struct Middle : Module {
  Leaf first, second;
  Parameter& scale = add_parameter("scale", Tensor(4));
  Middle() {
    add_module("0", first);
    add_module("1", second);
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

struct Shared : Module {
  Leaf leaf;
  Tensor& average = add_buffer("average", Tensor(0));
  struct Parent : Module {
    Parent(std::string name, Module& child) { add_module(std::move(name), child); }
  } left{"inner", leaf}, right{"other", leaf};
  Shared() {
    add_module("left", left);
    add_module("again", leaf);
    add_module("right", right);
  }
};

TEST(Module, CountsOnceUnderItsFirstNameHoweverItIsReached) {
  Shared shared;
  EXPECT_EQ(names_of(shared), (std::vector<std::string>{"left.inner.weight", "left.inner.bias"}));
  EXPECT_EQ(shared.buffers().size(), 1u);
  SGD sgd(shared.parameters());
  sgd.step(backward(square(shared.leaf.bias)), 0.25);
  EXPECT_EQ(shared.leaf.bias.value().item(), 1.5);  // 3 - 0.25 * 6, once
}

struct Free : Module {  // whose members others may add to
  using Module::add_buffer, Module::add_module, Module::add_parameter;
};

TEST(Module, NameIsGivenOnce) {
  Free module;
  module.add_parameter("a", Tensor(1));
  module.add_buffer("b", Tensor(1));
  const auto taken = [](const std::string& name) {
    return "[module] the name '" + name + "' is taken; a checkpoint needs one for each";
  };
  EXPECT_EQ(error_of([&] { module.add_parameter("a", Tensor(2)); }), taken("a"));
  EXPECT_EQ(error_of([&] { module.add_parameter("b", Tensor(2)); }), taken("b"));
  EXPECT_EQ(error_of([&] { module.add_buffer("a", Tensor(2)); }), taken("a"));
  EXPECT_EQ(error_of([&] { module.add_buffer("b", Tensor(2)); }), taken("b"));
  EXPECT_EQ(module.parameters()[0].parameter->value().item(), 1);
}

TEST(Module, WholeNamesThatMeanTwoThingsFail) {
  const auto both = [](const std::string& name) {
    return "[module] two parameters or buffers have the name '" + name +
           "'; a checkpoint needs one for each";
  };
  Free dotted, one_name, mixed;
  Leaf first, second;
  dotted.add_parameter("a.weight", Tensor(1));
  dotted.add_module("a", first);
  EXPECT_EQ(error_of([&] { dotted.parameters(); }), both("a.weight"));
  one_name.add_module("a", first);
  one_name.add_module("a", second);
  EXPECT_EQ(error_of([&] { one_name.buffers(); }), both("a.weight"));
  mixed.add_buffer("a.bias", Tensor(1));
  mixed.add_module("a", first);
  EXPECT_EQ(error_of([&] { mixed.parameters(); }), both("a.bias"));
  EXPECT_EQ(error_of([&] { mixed.buffers(); }), both("a.bias"));
}

TEST(Module, NamesOfParametersAndBuffersAreNotEmpty) {
  Free module;
  const std::string line = "[module] a name is empty, expected one that a checkpoint can use";
  EXPECT_EQ(error_of([&] { module.add_parameter("", Tensor(1)); }), line);
  EXPECT_EQ(error_of([&] { module.add_buffer("", Tensor(1)); }), line);
  EXPECT_TRUE(module.parameters().empty());
}

TEST(Module, WithoutANameLeavesTheNamesOfItsPartsAsTheyAre) {
  Leaf leaf, named;
  Free inner, outer;
  inner.add_module("leaf", leaf);
  outer.add_module("", inner);
  outer.add_module("named", named);
  EXPECT_EQ(names_of(outer),
            (std::vector<std::string>{"leaf.weight", "leaf.bias", "named.weight", "named.bias"}));
  Leaf twice;
  outer.add_module("", twice);
  outer.add_parameter("weight", Tensor(1));
  EXPECT_NE(error_of([&] { outer.parameters(); }).find("'weight'"), std::string::npos);
}

TEST(Module, DoesNotContainItself) {
  Free a, b, c;
  EXPECT_EQ(error_of([&] { a.add_module("self", a); }), "[module] 'self' would contain itself");
  a.add_module("b", b);
  b.add_module("c", c);
  EXPECT_EQ(error_of([&] { c.add_module("a", a); }), "[module] 'a' would contain itself");
  EXPECT_TRUE(a.parameters().empty());
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

TEST(Parameter, SetRefusesAnotherShapeAndChangesNothing) {
  Parameter p(Tensor({2, 3}, {1, 2, 3, 4, 5, 6})), scalar(Tensor(1));
  const auto version = p.version();
  EXPECT_EQ(error_of([&] { p.set(Tensor::zeros({2})); }),
            "[parameter] a value of shape (2), expected (2, 3)");
  EXPECT_EQ(error_of([&] {
              p.set(Tensor::zeros({3, 2}));
            }),
            "[parameter] a value of shape (3, 2), expected (2, 3)");
  EXPECT_EQ(error_of([&] { scalar.set(Tensor()); }),  // whose shape is a scalar's
            "[parameter] an undefined value, expected the shape ()");
  EXPECT_EQ(p.version(), version);
  EXPECT_EQ(p.value().values(), (std::vector<Real>{1, 2, 3, 4, 5, 6}));
}

TEST(Parameter, UpdatesItsValueInPlace) {
  Parameter p(Tensor({2}, {1, 2}));
  const Real* before = p.value().data();
  p.update([](std::span<Real> values) { values[1] = 3; });
  EXPECT_EQ(p.value().data(), before);
  p.update([](Tensor& value) { value.mutable_data()[0] = 4; });
  EXPECT_EQ(p.value().data(), before);
  EXPECT_EQ(p.value().values(), (std::vector<Real>{4, 3}));
  p.update([&](Tensor& value) { value = p.value() * 2; });
  EXPECT_EQ(p.value().values(), (std::vector<Real>{8, 6}));
}

TEST(Parameter, UpdateThatLeavesAnotherShapeFailsAndChangesNothing) {
  Parameter p(Tensor({2}, {1, 2}));
  for (bool shared : {false, true}) {
    const Tensor holder = shared ? p.value() : Tensor();
    const auto version = p.version();
    EXPECT_EQ(error_of([&] {
                p.update([](Tensor& value) {
                  value.mutable_data()[0] = 7;
                  value = Tensor::zeros({3});
                });
              }),
              "[parameter] an update left the shape (3), expected (2)");
    EXPECT_EQ(error_of([&] { p.update([](Tensor& value) {
                               value = value.reshape({2, 1});
                             }); }),
              "[parameter] an update left the shape (2, 1), expected (2)");
    EXPECT_EQ(error_of([&] { p.update([](Tensor& value) { value = Tensor(); }); }),
              "[parameter] an update left no value, expected the shape (2)");
    EXPECT_EQ(p.value().values(), (std::vector<Real>{1, 2}));
    EXPECT_EQ(p.shape(), Shape{2});
    EXPECT_GT(p.version(), version);
  }
}

TEST(Parameter, VersionGrowsAlsoWhenAnUpdateThrows) {
  Parameter p(Tensor({2}, {1, 2}));
  const auto first = p.version();
  EXPECT_THROW(p.update([](std::span<Real> values) {
    values[0] = 5;
    throw 1;
  }),
               int);
  const auto second = p.version();
  EXPECT_GT(second, first);
  EXPECT_THROW(p.update([](Tensor& value) {
    value = Tensor(1);
    throw 1;
  }),
               int);
  EXPECT_GT(p.version(), second);
  EXPECT_EQ(p.value().values(), (std::vector<Real>{5, 2}));
}

TEST(Parameter, HandlesThatLeaveAnUpdateDoNotWriteToIt) {
  Parameter p(Tensor({2}, {1, 2}));
  Tensor kept, given = Tensor({2}, {3, 4});
  p.update([&](Tensor& value) { kept = value; });
  kept.mutable_data()[0] = 9;
  EXPECT_EQ(p.value().values(), (std::vector<Real>{1, 2}));
  p.set(given);
  given.mutable_data()[0] = 9;
  EXPECT_EQ(p.value().values(), (std::vector<Real>{3, 4}));
}

template <class P>
concept LendsItsValue = requires(P p) {
  p.mutable_value();
};

TEST(Parameter, LendsNobodyAValueToWriteLater) { EXPECT_FALSE(LendsItsValue<Parameter>); }

TEST(Parameter, WritingLeavesAHistoryThatUsesTheOldValueAlone) {
  Parameter p(Tensor({2}, {1, 2}));
  const Var y = square(p);
  p.update([](std::span<Real> values) { values[0] = 100; });
  EXPECT_EQ(backward(y, Tensor({2}, {1, 1}))[p].values(), (std::vector<Real>{2, 4}));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

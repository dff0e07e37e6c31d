#include "backflow/flows/conditioners/mlp.h"

#include "backflow/ops/gradcheck.h"
#include "backflow/ops/reduce.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Strings = std::vector<std::string>;

Strings names_of(const Module& module) {
  Strings names;
  for (const auto& [name, parameter] : module.parameters()) names.push_back(name);
  return names;
}

std::vector<Shape> shapes_of(const Module& module) {
  std::vector<Shape> shapes;
  for (const auto& [name, parameter] : module.parameters()) shapes.push_back(parameter->shape());
  return shapes;
}

TEST(FullyConnected, IsXTimesWTransposedPlusB) {
  const FullyConnected layer(Tensor({2, 3}, {1, 2, 3, 4, 5, 6}), Tensor({2}, {10, 20}));
  const Var y = layer(Tensor({2, 3}, {1, 0, -1, 2, 1, 0}));
  EXPECT_EQ(y.shape(), Shape({2, 2}));
  EXPECT_EQ(y.value().values(), (std::vector<Real>{8, 18, 14, 33}));
  EXPECT_EQ(layer.in(), 3);
  EXPECT_EQ(layer.out(), 2);
  EXPECT_EQ(names_of(layer), (Strings{"weight", "bias"}));
  EXPECT_EQ(layer(Tensor::empty({0, 3})).shape(), Shape({0, 2}));
}

TEST(FullyConnected, RefusesOtherShapes) {
  const Tensor W = Tensor::zeros({2, 3}), b = Tensor::zeros({2});
  EXPECT_EQ(error_of([&] { FullyConnected(W, Tensor::zeros({3})); }),
            "[fully_connected] a weight (out, in) and a bias (out) expected, the shapes are (2, 3) "
            "and (3)");
  EXPECT_NE(error_of([&] { FullyConnected(Tensor::zeros({2}), b); }), "no error");
  const FullyConnected layer(W, b);
  EXPECT_EQ(error_of([&] {
              layer(Tensor::zeros({5, 4}));
            }),
            "[fully_connected] a batch (B, 3) expected, the input's shape is (5, 4)");
  for (const Shape& shape : {Shape{}, Shape{3}, Shape{1, 1, 3}})
    EXPECT_NE(error_of([&] { layer(Tensor::zeros(shape)); }), "no error");
  for (const auto& [in, out] : std::vector<std::pair<Index, Index>>{{0, 2}, {2, 0}, {-1, 2}})
    EXPECT_NE(error_of([in = in, out = out] {
                FullyConnected(in, out, he_normal, Random(1));
              }).find("at least one input and one output expected"),
              std::string::npos);
  EXPECT_NE(error_of([] { FullyConnected(1, 2, Initializer(), Random(1)); }).find("is empty"),
            std::string::npos);
  const Initializer askew = [](const Shape&, const Random& random) {
    return he_normal({3, 3}, random);
  };
  EXPECT_EQ(error_of([&] { FullyConnected(2, 3, askew, Random(1)); }),
            "[fully_connected] the initializer gave a weight of shape (3, 3), expected (3, 2)");
}

TEST(Mlp, HasTorchsNamesAndShapes) {
  const Mlp mlp(5, 3, {.hidden = {7, 4}}, Random(1));
  EXPECT_EQ(names_of(mlp),
            (Strings{"0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"}));
  EXPECT_EQ(shapes_of(mlp), (std::vector<Shape>{{7, 5}, {7}, {4, 7}, {4}, {3, 4}, {3}}));
  EXPECT_EQ(names_of(Mlp(5, 3, {.hidden = {}}, Random(1))), (Strings{"0.weight", "0.bias"}));
}

TEST(Mlp, IsItsLayersWithTheActivationBetweenThem) {
  const Tensor x = Random(2).normal({4, 5});
  const Random random(1);
  const FullyConnected first(5, 7, he_normal, random.stream(0)),
      last(7, 3, he_normal, random.stream(1));
  const Mlp mlp(5, 3, {.hidden = {7}, .activation = tanh, .initial = he_normal}, random);
  EXPECT_EQ(mlp(x).value().values(), last(tanh(first(x))).value().values());
  EXPECT_EQ(mlp(x).shape(), Shape({4, 3}));
  const Mlp affine(5, 3, {.hidden = {}}, random);
  const Tensor twice = affine(x * 2).value() - affine(x).value();
  expect_close(twice, affine(x).value() - affine(Tensor::zeros({4, 5})).value(), 1e-5, "affine");
}

TEST(Mlp, ReLUByDefault) {
  const Random random(1);
  const Mlp mlp(5, 3, {.hidden = {7}}, random);
  const FullyConnected first(5, 7, torch_default, random.stream(0)),
      last(7, 3, torch_default, random.stream(1));
  const Tensor x = Random(2).normal({4, 5});
  EXPECT_EQ(mlp(x).value().values(), last(relu(first(x))).value().values());
}

TEST(Mlp, GradientsAgreeWithDifferences) {
  const Mlp mlp(5, 3, {.hidden = {7, 4}, .activation = tanh}, Random(1));
  const Tensor x = Random(2).normal({4, 5});
  EXPECT_TRUE(gradcheck([&](const Var& in) { return mlp(in); }, x));
  for (const auto& [name, parameter] : mlp.parameters()) {
    Parameter& p = *parameter;
    const auto f = [&](const Var& value) {
      const Tensor before = p.value();
      p.set(value.value());
      const Var y = mlp(x);
      p.set(before);
      return override_gradient("mlp", y.value(), {value},
                               [y, &p](const Tensor& g) { return backward(y, g, Graph::keep)[p]; });
    };
    const auto report = gradcheck(f, p.value());
    EXPECT_TRUE(report) << name << ": " << report.failure;
  }
}

TEST(Mlp, RefusesWhatMakesNoNetwork) {
  EXPECT_NE(error_of([] { Mlp(5, 3, {.hidden = {0}}, Random(1)); }), "no error");
  EXPECT_NE(error_of([] { Mlp(0, 3, {}, Random(1)); }), "no error");
  EXPECT_EQ(error_of([] { Mlp(5, 3, {.activation = nullptr}, Random(1)); }),
            "[mlp] the activation is null, expected one such as relu");
  const Mlp mlp(5, 3, {}, Random(1));
  EXPECT_EQ(error_of([&] {
              mlp(Tensor::zeros({2, 3}));
            }),
            "[fully_connected] a batch (B, 5) expected, the input's shape is (2, 3)");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

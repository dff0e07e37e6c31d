// override_gradient(), the part of record.h that users meet most.
#include <cmath>

#include "backflow/engine/backward.h"
#include "backflow/engine/record.h"
#include "backflow/ops/pointwise.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Reals = std::vector<Real>;

Tensor unchanged(const Tensor& g) { return g; }

TEST(OverrideGradient, OneInputOneOutput) {
  const Var x = Var::leaf(Tensor({2}, {3, 4}));
  const Var y = override_gradient("f", Tensor({2}, {30, 40}), {x},
                                  [](const Tensor& g) { return g * Tensor(7); });
  EXPECT_EQ(y.value().values(), (Reals{30, 40}));
  EXPECT_EQ(backward(y, Tensor({2}, {1, 2}))[x].values(), (Reals{7, 14}));
}

TEST(OverrideGradient, ManyInputsOneOutput) {
  const Var x = Var::leaf(Tensor(3)), constant = Tensor(4), y = Var::leaf(Tensor(5));
  const Var z = override_gradient("f", Tensor(0), {x, constant, y}, [](const Tensor& g) {
    return grads(g * Tensor(2), g, g * Tensor(6));
  });
  const Gradients gradients = backward(z);
  EXPECT_EQ(gradients[x].item(), 2);
  EXPECT_EQ(gradients[y].item(), 6);
}

TEST(OverrideGradient, ManyInputsManyOutputs) {
  const Var x = Var::leaf(Tensor(3)), y = Var::leaf(Tensor(5));
  const auto [a, b] =
      override_gradient("f", {Tensor(1), Tensor(2)}, {x, y},
                        [](const Tensor& ga, const Tensor& gb) { return grads(ga - gb, gb); });
  EXPECT_EQ(a.item(), 1);
  EXPECT_EQ(b.item(), 2);
  const Gradients gradients = backward(a * Real(10) + b * Real(100));
  EXPECT_EQ(gradients[x].item(), -90);
  EXPECT_EQ(gradients[y].item(), 100);
}

TEST(OverrideGradient, OneInputManyOutputs) {
  const Var x = Var::leaf(Tensor(3));
  const auto [a, b] =
      override_gradient("f", {Tensor(1), Tensor(2)}, {x},
                        [](const Tensor& ga, const Tensor& gb) { return grads(ga * gb); });
  EXPECT_EQ(backward(a * Real(10) + b * Real(100))[x].item(), 1000);
}

TEST(OverrideGradient, CountsMayBeKnownAtRunTimeOnly) {
  for (int count : {1, 2, 5}) {
    std::vector<Var> inputs;
    std::vector<Tensor> values;
    for (int i = 0; i < count; ++i) {
      inputs.push_back(Var::leaf(Tensor(1)));
      values.push_back(Tensor(Real(i)));
    }
    const std::vector<Var> outputs = override_gradient(
        "reverse", values, std::span<const Var>(inputs),
        [](std::span<const Tensor> g) { return std::vector<Tensor>(g.rbegin(), g.rend()); });
    ASSERT_EQ(static_cast<int>(outputs.size()), count);
    const Gradients gradients = backward(outputs[0], Tensor(8));
    for (int i = 0; i < count; ++i)
      EXPECT_EQ(gradients[inputs[i]].item(), i == count - 1 ? 8 : 0) << i << " of " << count;
  }
}

TEST(OverrideGradient, WrongNumberOfGradientsFails) {
  const Var x = Var::leaf(Tensor(3)), y = Var::leaf(Tensor(5));
  const Var z = override_gradient("f", Tensor(1), {x, y}, [](const Tensor& g) { return grads(g); });
  EXPECT_EQ(error_of([&] { backward(z); }), "[f] the rule gave 1 gradients for 2 inputs");
  EXPECT_EQ(error_of([&] {
              override_gradient("f", Tensor(1), {x, y}, unchanged);
            }),
            "[f] the rule gives 1 gradient for 2 inputs; return grads(...)");
}

TEST(OverrideGradient, OfConstantsIsAConstant) {
  const Var y = override_gradient("f", Tensor(1), {Var(Tensor(2))}, unchanged);
  EXPECT_FALSE(y.requires_grad());
  EXPECT_EQ(y.item(), 1);
}

TEST(OverrideGradient, StraightThroughRounding) {
  const Var x = Var::leaf(Tensor({3}, {0.4, 1.6, -2.7}));
  const Tensor rounded = pointwise(x.value(), [](Real v) { return std::round(v); });
  const Var y = override_gradient("round", rounded, {x}, unchanged);
  EXPECT_EQ(y.value().values(), (Reals{0, 2, -3}));
  EXPECT_EQ(backward(square(y), Tensor({3}, {1, 1, 1}))[x].values(), (Reals{0, 4, -6}));
}

TEST(OverrideGradient, GradientClipping) {
  const Var x = Var::leaf(Tensor({3}, {1, 10, -10}));
  const Var y = override_gradient("clip_gradient", x.value(), {x}, [](const Tensor& g) {
    return pointwise(g, [](Real v) { return std::clamp(v, Real(-5), Real(5)); });
  });
  EXPECT_EQ(y.value().data(), x.value().data());
  EXPECT_EQ(backward(square(y), Tensor({3}, {1, 1, 1}))[x].values(), (Reals{2, 5, -5}));
}

// The paper's override, with 1 x 1 weights: gradients computed by hand.
TEST(OverrideGradient, SelfNormalizingLayerOfOneUnit) {
  const Var x = Var::leaf(Tensor(3)), W = Var::leaf(Tensor(2)), R = Var::leaf(Tensor(0.25));
  const Tensor X = x.value(), w = W.value(), r = R.value(), z = X * w;
  const auto [y, logdet] = override_gradient(
      "self_normalizing", {z, Tensor(0)}, {x, W, R}, [=](const Tensor& gz, const Tensor& gl) {
        const Tensor gx = gz * w;
        return grads(gx, Tensor(0.5) * (gz * X + gl * r), Tensor(-0.5) * (gx * z + gl * w));
      });
  const Gradients gradients = backward(logdet - square(y) * Real(0.5));  // d_z = -z = -6
  EXPECT_EQ(gradients[x].item(), -12);
  EXPECT_EQ(gradients[W].item(), Real(0.5 * (-6 * 3 + 0.25)));
  EXPECT_EQ(gradients[R].item(), Real(-0.5 * (-12 * 6 + 2)));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/flows/transforms/affine.h"

#include "backflow/flows/transforms/gate.h"
#include "backflow/tests/flows/transforms/check_transform.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

const std::vector<AffineOptions> all_affine = {
    {},
    {.divides = true},
    {.scale = ScaleForm::capped},
    {.scale = ScaleForm::capped, .cap = 3, .divides = true},
    {.scale = ScaleForm::learned_tanh},
    {.scale = ScaleForm::learned_tanh, .divides = true},
    {.scale = ScaleForm::softplus},
    {.scale = ScaleForm::softplus, .divides = true}};

TEST(Additive, IsATransform) {
  Additive additive;
  check_transform("additive", additive);
  check_begins_as_identity(additive);
}

TEST(Affine, IsATransformInEveryForm) {
  for (const AffineOptions& options : all_affine) {
    Affine affine(options);
    check_begins_as_identity(affine);
    check_transform("affine " + std::to_string(static_cast<int>(options.scale)), affine);
  }
}

TEST(Gate, IsATransform) {
  for (const GateOptions& options : {GateOptions{}, GateOptions{.bias = 1, .cap = 3}}) {
    Gate gate(options);
    check_transform("gate", gate);
  }
}

// z at x = 2 and its log-derivative, for h = 0.5 and m = 3.
std::array<double, 2> at_2(const Transform& transform) {
  const auto [z, log_slope] = transform.forward(Tensor({1, 1}, {2}), Tensor({1, 1, 2}, {0.5, 3}));
  return {z.value().item(), log_slope.value().item()};
}

void expect_at_2(const Transform& transform, double z, double slope) {
  const auto [actual_z, log_slope] = at_2(transform);
  EXPECT_NEAR(actual_z, z, 8 * std::numeric_limits<Real>::epsilon() * std::abs(z));
  EXPECT_NEAR(log_slope, std::log(slope), 8 * std::numeric_limits<Real>::epsilon());
}

TEST(Affine, IsTheFormulaOfItsForm) {
  const double e = std::exp(0.5), capped = std::exp(3 * std::tanh(0.5 / 3)),
               soft = std::log1p(e) + 1e-3;
  expect_at_2(Affine(), 2 * e + 3, e);
  expect_at_2(Affine({.divides = true}), (2 - 3) / e, 1 / e);
  expect_at_2(Affine({.scale = ScaleForm::capped, .cap = 3}), 2 * capped + 3, capped);
  expect_at_2(Affine({.scale = ScaleForm::softplus}), 2 * soft + 3, soft);
  Affine learned({.scale = ScaleForm::learned_tanh});
  learned.Module::parameters()[0].parameter->set(Tensor({1}, {0.7}));
  const double scale = std::exp(0.7 * std::tanh(0.5));
  expect_at_2(learned, 2 * scale + 3, scale);
}

TEST(Gate, IsTheFormula) {
  const auto expect_gate = [](const GateOptions& options, double g) {
    const double s = 1 / (1 + std::exp(-g));
    expect_at_2(Gate(options), s * 2 + (1 - s) * 3, s);
  };
  expect_gate({}, 2.5);
  expect_gate({.bias = 1}, 1.5);
  expect_gate({.bias = 1, .cap = 3}, 1 + 3 * std::tanh(0.5 / 3));
}

TEST(Affine, MayHaveOneLearnedScaleForEachElement) {
  Affine affine({.scale = ScaleForm::learned_tanh, .elements = 3});
  affine.Module::parameters()[0].parameter->set(Tensor({3}, {0.5, -1, 2}));
  TransformFlow flow(affine, Random(1).normal({4, 3, 2}));
  check_flow("affine", flow, Random(2).normal({4, 3}), Random(2).normal({4, 3}) * 100);
  const auto [z, log_slope] = affine.forward(Tensor::zeros({1, 3}), Tensor::full({1, 3, 2}, 1));
  EXPECT_NEAR(log_slope.value()[1], -std::tanh(1.0), 1e-6);
  EXPECT_NEAR(log_slope.value()[2], 2 * std::tanh(1.0), 1e-6);
  EXPECT_EQ(error_of([&] {
              affine.forward(Tensor::zeros({1, 2}), Tensor::zeros({1, 2, 2}));
            }),
            "[affine] 3 scales are no scales of 2 elements");
}

// e^h of such an h is no number; all others are bounded, or grow with h itself.
TEST(Affine, IsFiniteAtExtremeParameters) {
  const Real huge = in_double ? Real(1e100) : Real(1e20);
  Tensor p({1, 4, 2}, {huge, 3, -huge, 3, 80, -huge, -80, huge});
  const auto check = [&](Transform& transform, const Tensor& p) {
    TransformFlow flow(transform, p);
    check_finite(flow, Tensor({1, 4}, {1, -40, 50, 2}), {});
  };
  for (const AffineOptions& options : all_affine) {
    if (options.scale == ScaleForm::exp) continue;
    Affine affine(options);
    check(affine, p);
  }
  Affine plain, divides({.divides = true});
  const Tensor large({1, 4, 2}, {80, 3, -80, 3, 80, -3, -80, 5});
  check(plain, large);
  check(divides, large);
  Gate gate, capped({.cap = 3});
  check(gate, p);
  check(capped, p);
}

// Without a floor: far out, softplus is below the smallest number, and its logarithm is h.
TEST(Affine, OfSoftplusHasItsLogSlopeWhereTheScaleVanishes) {
  Affine affine({.scale = ScaleForm::softplus, .least = 0});
  const Tensor p({1, 4, 2}, {-39, 1, -41, 1, -200, 1, -1000, 1});
  const Var parameters = Var::leaf(p);
  const auto [z, log_slope] = affine.forward(Tensor::full({1, 4}, 2), parameters);
  const Gradients gradients = backward(sum(log_slope));
  for (Index i = 0; i < 4; ++i) {
    EXPECT_NEAR(log_slope.value()[i], p[2 * i], 1e-6 * std::abs(p[2 * i]));
    EXPECT_NEAR(gradients[parameters][2 * i], 1, 1e-6);
  }
}

// Where 1 - s is below rounding, m must still count: m (1 - s) is 1 here.
TEST(Affine, WhoseScaleUnderflowsHasNoInverseAndSaysSo) {
  const Tensor z({1, 1}, {2}), p({1, 1, 2}, {-1000, 2});
  EXPECT_EQ(error_of([&] { Affine().inverse(z, p); }),
            "[affine] no x was found: a scale is too small to be undone");
  EXPECT_EQ(error_of([&] { Gate().inverse(z, p); }),
            "[gate] no x was found: a scale is too small to be undone");
}

TEST(Gate, KeepsALargeShiftOfASmallShare) {
  const double rest = std::exp(-40.0);
  const Tensor p({1, 1, 2}, {38, static_cast<Real>(1 / rest)}), x({1, 1}, {2});
  EXPECT_NEAR(Gate().forward(x, p)[0].value().item(), 3, 1e-5);
  EXPECT_NEAR(Gate().inverse(Tensor({1, 1}, {3}), p).item(), 2, 1e-5);
}

TEST(Affine, RefusesOptionsThatMakeNoScale) {
  EXPECT_EQ(error_of([] { Affine({.cap = 0}); }),
            "[affine] the cap must be positive and finite, got 0");
  EXPECT_EQ(error_of([] { Affine({.least = 1}); }),
            "[affine] the least scale must be at least 0 and below 1, got 1");
  EXPECT_EQ(error_of([] { Affine({.elements = 0}); }), "[affine] scales for 0 elements");
  EXPECT_EQ(error_of([] { Gate({.cap = -1}); }), "[gate] the cap must be positive, got -1");
  EXPECT_NE(error_of([] { Gate({.bias = std::nan("")}); }), "no error");
  EXPECT_NE(error_of([] { Affine({.least = std::nan("")}); }), "no error");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

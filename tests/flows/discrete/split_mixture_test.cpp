#include "backflow/flows/discrete/split_mixture.h"

#include "backflow/flows/density.h"
#include "backflow/flows/discrete/integer_discrete_flow.h"
#include "backflow/ops/rounding.h"
#include "backflow/tests/flows/check_zoo.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

const SplitMixtureOptions small = {.step = 0.5,
                                   .parts = 3,
                                   .net = {.hidden = {5}},
                                   .components = {{-1, 0.3}, {0.5, 0.2, 1}, {1, 0.6, -1}}};

// Every pair of multiples of the step within a distance of 0.
Tensor pairs(int reach, double step) {
  Tensor z = Tensor::empty({(2 * reach + 1) * (2 * reach + 1), 2});
  Real* to = z.mutable_data();
  for (int i = -reach; i <= reach; ++i)
    for (int j = -reach; j <= reach; ++j) {
      *to++ = static_cast<Real>(i * step);
      *to++ = static_cast<Real>(j * step);
    }
  return z;
}

TEST(SplitLogisticMixture, SumsTo1) {
  SplitMixtureOptions options = small;
  options.parts = 2;
  const SplitLogisticMixture base(2, options, Random(1));
  randomize(base, Random(2), 0.7);
  double total = 0;
  for (Real log_prob : base.log_prob(pairs(300, 0.5)).value().values())
    total += std::exp(double{log_prob});
  EXPECT_NEAR(total, 1, in_double ? 1e-6 : 1e-4);
}

TEST(SplitLogisticMixture, BeginsAsIndependentMixtures) {
  const SplitLogisticMixture base(5, small, Random(1));
  const DiscretizedLogisticMixture each({5}, 3, {.step = 0.5});
  Tensor logits = Tensor::empty({5, 3}), means = logits, log_scales = logits;
  for (Index i = 0; i < 15; ++i) {
    const auto& [mean, scale, logit] = small.components[i % 3];
    logits.mutable_data()[i] = static_cast<Real>(logit);
    means.mutable_data()[i] = static_cast<Real>(mean);
    log_scales.mutable_data()[i] = static_cast<Real>(std::log(scale));
  }
  for (const auto& [name, parameter] : each.parameters())
    parameter->set(name == "logits" ? logits : name == "mean" ? means : log_scales);
  const Tensor z = round_to(Random(3).normal({20, 5}), 0.5);
  expect_close(base.log_prob(z).value(), each.log_prob(z).value(), in_double ? 1e-12 : 1e-5, "P");
}

// A number changes the conditionals of later parts alone: P(a) P(b) P(c | a, b) with parts of one.
TEST(SplitLogisticMixture, EachPartIsGivenThoseBeforeIt) {
  const SplitLogisticMixture base(3, small, Random(1));
  randomize(base, Random(2));
  const auto log_prob = [&](Real a, Real b, Real c) {
    return double{base.log_prob(Tensor({1, 3}, {a, b, c})).item()};
  };
  const auto conditional_of_last = [&](Real a, Real b) {  // up to what does not depend on c
    return log_prob(a, b, 1) - log_prob(a, b, 0);
  };
  EXPECT_GT(std::abs(conditional_of_last(0, 0) - conditional_of_last(1, 0)), 1e-3);
  EXPECT_GT(std::abs(conditional_of_last(0, 0) - conditional_of_last(0, 1)), 1e-3);
  // P(a) is the sum over b and c, and does not depend on the networks.
  const auto marginal = [&](Real a) {
    double total = 0;
    const Tensor others = pairs(100, 0.5);
    Tensor z = Tensor::empty({others.size(0), 3});
    for (Index i = 0; i < others.size(0); ++i) {
      z.mutable_data()[3 * i] = a;
      z.mutable_data()[3 * i + 1] = others[2 * i];
      z.mutable_data()[3 * i + 2] = others[2 * i + 1];
    }
    for (Real each : base.log_prob(z).value().values()) total += std::exp(double{each});
    return total;
  };
  const double before = marginal(0.5);
  for (const auto& [name, parameter] : base.parameters())
    if (name != "first") parameter->set(parameter->value() * Tensor(Real(0.5)));
  EXPECT_NEAR(marginal(0.5), before, in_double ? 1e-9 : 1e-4);
}

TEST(SplitLogisticMixture, SamplesItsProbabilities) {
  SplitMixtureOptions options = small;
  options.parts = 2;
  const SplitLogisticMixture base(2, options, Random(1));
  randomize(base, Random(2), 0.7);
  constexpr Index n = 100000;
  const Tensor drawn = base.sample({n, 2}, Random(11)), grid = pairs(8, 0.5);
  EXPECT_EQ(drawn.values(), round_to(drawn, 0.5).values());
  const Tensor log_prob = base.log_prob(grid).value();
  std::map<std::pair<Real, Real>, double> count;
  for (Index i = 0; i < n; ++i) ++count[{drawn[2 * i], drawn[2 * i + 1]}];
  for (Index i = 0; i < grid.size(0); ++i) {
    const double p = std::exp(double{log_prob[i]});
    EXPECT_NEAR((count[{grid[2 * i], grid[2 * i + 1]}]) / n, p, 5 * std::sqrt(p / n) + 2e-5);
  }
}

TEST(SplitLogisticMixture, SamplesTheMeansAtTemperature0) {
  const SplitLogisticMixture base(6, {.parts = 3, .components = {{3, 5}}}, Random(1));
  EXPECT_EQ(base.sample({4, 6}, Random(1), 0).values(), std::vector<Real>(24, 3));
}

TEST(SplitLogisticMixture, HasTheGradientsOfItsDifferences) {
  struct AsFlow : Flow {  // that of the base in place of a log-determinant
    explicit AsFlow(const Base& base) : base(base) { add_module("base", base); }
    Out forward(const Var& z, Pass&) const override { return {z, base.log_prob(z)}; }
    Tensor inverse(const Tensor& z, Pass&) const override { return z; }
    const Base& base;
  };
  const SplitLogisticMixture base(4, small, Random(1));
  randomize(base, Random(2));
  check_gradients(AsFlow(base), Random(3).normal({4, 4}) * 3.0, {});
  check_finite(AsFlow(base), Random(3).normal({4, 4}) * 1e5, {});
}

TEST(SplitLogisticMixture, TinyScalesStayFinite) {
  const SplitLogisticMixture base(2, {.parts = 2, .components = {{0, 1}, {7, 1}}}, Random(1));
  for (const auto& [name, parameter] : base.parameters())
    if (name == "first") parameter->set(Tensor({1, 6}, {0, 0, 0, 0, -300, -300}));
  const Tensor log_prob = base.log_prob(Tensor({2, 2}, {0, 0, 7, 0})).value();
  for (Real each : log_prob.values()) EXPECT_TRUE(std::isfinite(each)) << each;
}

TEST(SplitLogisticMixture, HasTheSameBitsOnAnyThreads) {
  const SplitLogisticMixture base(50, small, Random(1));
  randomize(base, Random(2), 0.1);
  expect_same_bits_on_any_threads([&] {
    const Tensor z = base.sample({40, 50}, Random(3));
    return std::vector<Tensor>{z, base.log_prob(z).value()};
  });
}

TEST(SplitLogisticMixture, PartsOfAnySizeAndEmptyBatches) {
  for (Index D : {1, 2, 7, 10})
    for (Index parts = 1; parts <= std::min<Index>(D, 4); ++parts) {
      const SplitLogisticMixture base(D, {.parts = parts}, Random(1));
      EXPECT_EQ(base.sample({3, D}, Random(1)).shape(), Shape({3, D}));
      EXPECT_EQ(base.sample({0, D}, Random(1)).shape(), Shape({0, D}));
      EXPECT_EQ(base.log_prob(Tensor::zeros({0, D})).shape(), Shape({0}));
    }
}

TEST(SplitLogisticMixture, RefusesWhatMakesNoSense) {
  const auto refused = [](Index D, const SplitMixtureOptions& options) {
    return error_of([&] { SplitLogisticMixture(D, options, Random(1)); });
  };
  EXPECT_EQ(refused(3, {.parts = 4}), "[split_mixture] 1 ... D = 3 parts expected, got 4");
  EXPECT_EQ(refused(3, {.parts = 0}), "[split_mixture] 1 ... D = 3 parts expected, got 0");
  EXPECT_EQ(refused(9, {.net = {.context = 2}}),
            "[split_mixture] a base takes no context, got one of width 2");
  EXPECT_EQ(refused(9, {.components = {}}),
            "[split_mixture] at least one component expected, got 0");
  for (const SplitMixtureOptions& bad :
       std::vector<SplitMixtureOptions>{{.step = 0},
                                        {.components = {{0, 0}}},
                                        {.components = {{std::nan(""), 1}}},
                                        {.components = {{0, 1, HUGE_VAL}}}})
    EXPECT_NE(refused(9, bad), "no error");
  const SplitLogisticMixture base(4, {}, Random(1));
  for (const Shape& shape : {Shape{}, Shape{4}, Shape{2, 3}, Shape{2, 4, 1}}) {
    EXPECT_NE(error_of([&] { base.log_prob(Tensor::zeros(shape)); }), "no error") << shape;
    EXPECT_NE(error_of([&] { base.sample(shape, Random(1)); }), "no error") << shape;
  }
}

TEST(SplitLogisticMixture, IsTheBaseOfAnIntegerDiscreteFlow) {
  const auto flow = integer_discrete_flow(5, {.layers = 4, .net = {.hidden = {8}}}, Random(1));
  const SplitLogisticMixture base(5, {.parts = 5, .net = {.hidden = {8}}}, Random(2));
  const Density density(*flow, {5}, base);
  const auto [x, log_prob] = density.sample_and_log_prob(30, Random(3));
  expect_close(density.log_prob(x), log_prob, in_double ? 1e-12 : 1e-5, "P of samples");
  EXPECT_EQ(x.values(), round_to(x).values());
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

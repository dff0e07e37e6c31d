#include "backflow/flows/discrete/discretized_logistic.h"

#include "backflow/flows/density.h"
#include "backflow/flows/elementwise/activations.h"
#include "backflow/ops/rounding.h"
#include "backflow/tests/flows/check_zoo.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// n multiples of the step about 0.
Tensor multiples(Index n, double step) {
  Tensor z = Tensor::empty({n, 1});
  for (Index i = 0; i < n; ++i)
    z.mutable_data()[i] = static_cast<Real>(step * static_cast<double>(i - n / 2));
  return z;
}

double total_probability(const Base& base, double step) {
  double total = 0;
  for (Real log_prob : base.log_prob(multiples(20001, step)).value().values())
    total += std::exp(double{log_prob});
  return total;
}

void set(const Base& base, const std::string& name, const std::vector<Real>& values) {
  for (const auto& [known, parameter] : base.parameters())
    if (known == name) parameter->set(Tensor(parameter->shape(), values));
}

constexpr double sum_tolerance = in_double ? 1e-12 : 1e-5;

TEST(DiscretizedLogistic, SumsTo1) {
  for (double step : {1.0, 0.125})
    for (double mean : {0.0, 0.3, -7.5, 100.25})
      for (double scale : {1e-4, 0.05, 1.0, 3.0, 20.0}) {
        const DiscretizedLogistic base({1}, {step, mean, scale * step});
        EXPECT_NEAR(total_probability(base, step), 1, sum_tolerance) << step << mean << scale;
      }
}

TEST(DiscretizedLogisticMixture, SumsTo1) {
  const DiscretizedLogisticMixture base({1}, 3, {.step = 0.5});
  set(base, "logits", {1, -2, Real(0.5)});
  set(base, "mean", {-3, Real(0.2), 40});
  set(base, "log_scale", {-4, 0, 1});
  EXPECT_NEAR(total_probability(base, 0.5), 1, sum_tolerance);
}

// P = e^-b (1 - e^-(1 / s)) / ((1 + e^-a) (1 + e^-b)), of which far out only the numerator counts.
TEST(DiscretizedLogistic, IsRightFarOut) {
  for (double scale : {0.01, 0.5, 1.0, 30.0})
    for (double scales : {60.0, 1000.0, 1e6}) {
      const double z = std::ceil(scales * scale) + 3;
      const DiscretizedLogistic base({1}, {.scale = scale});
      const double expected = -(z - 0.5) / scale + std::log(-std::expm1(-1 / scale));
      for (double side : {1.0, -1.0})
        EXPECT_NEAR(base.log_prob(Tensor({1, 1}, {Real(side * z)})).item() / expected, 1,
                    in_double ? 1e-15 : 1e-6);
    }
}

TEST(DiscretizedLogistic, HasTheGradientsOfItsDifferences) {
  const auto check = [](Base& base) {
    randomize(base, Random(2));
    struct AsFlow : Flow {  // that of the base in place of a log-determinant
      explicit AsFlow(Base& base) : base(base) { add_module("base", base); }
      Out forward(const Var& z, Pass&) const override { return {z, base.log_prob(z)}; }
      Tensor inverse(const Tensor& z, Pass&) const override { return z; }
      Base& base;
    };
    check_gradients(AsFlow(base), Random(3).normal({4, 2, 3}) * 3.0, {});
    check_finite(AsFlow(base), Random(3).normal({4, 2, 3}) * 1e6, {});
  };
  DiscretizedLogistic one({2, 3}, {.step = 0.5});
  DiscretizedLogisticMixture several({2, 3}, 4, {.step = 0.5});
  check(one);
  check(several);
}

// Frequencies of samples against P, within 5 standard errors.
void expect_frequencies(const Base& base, double step) {
  constexpr Index n = 200000;
  const Tensor z = base.sample({n, 1}, Random(11));
  EXPECT_EQ(z.values(), round_to(z, step).values());
  for (Real value : multiples(41, step).values()) {
    const double p = std::exp(base.log_prob(Tensor({1, 1}, {value})).item());
    double count = 0;
    for (Real drawn : z.values()) count += drawn == value;
    EXPECT_NEAR(count / n, p, 5 * std::sqrt(p / n) + 1e-6) << value;
  }
}

TEST(DiscretizedLogistic, SamplesItsProbabilities) {
  expect_frequencies(DiscretizedLogistic({1}, {.step = 1, .mean = 0.3, .scale = 1.2}), 1);
  expect_frequencies(DiscretizedLogistic({1}, {.step = 0.25, .mean = -1, .scale = 0.2}), 0.25);
}

TEST(DiscretizedLogisticMixture, SamplesItsProbabilities) {
  const DiscretizedLogisticMixture base({1}, 3);
  set(base, "logits", {1, -1, 0});
  set(base, "mean", {-8, 0, 9});
  set(base, "log_scale", {0, -3, Real(-0.5)});
  expect_frequencies(base, 1);
}

TEST(DiscretizedLogistic, SamplesNearerToTheMeanWhenColder) {
  const DiscretizedLogistic base({2}, {.mean = 100, .scale = 50});
  const Tensor cold = base.sample({500, 2}, Random(1), 0), warm = base.sample({500, 2}, Random(1));
  EXPECT_EQ(cold.values(), std::vector<Real>(1000, 100));
  EXPECT_NE(warm.values(), cold.values());
}

TEST(DiscretizedLogistic, ItsParametersAreThoseOfTheDensity) {
  const Identity flow;
  const DiscretizedLogisticMixture base({2}, 2);
  const Density density(flow, {2}, base);
  std::vector<std::string> names;
  for (const auto& [name, parameter] : density.parameters()) names.push_back(name);
  EXPECT_EQ(names, (std::vector<std::string>{"base.logits", "base.mean", "base.log_scale"}));
}

TEST(DiscretizedLogistic, ComponentsBeginApart) {
  const DiscretizedLogisticMixture base({2}, 3, {.mean = 10, .scale = 2});
  EXPECT_EQ(base.parameters()[1].parameter->value().values(),
            (std::vector<Real>{6, 10, 14, 6, 10, 14}));
}

TEST(DiscretizedLogistic, RefusesOtherShapesAndScales) {
  const DiscretizedLogistic one({2});
  const DiscretizedLogisticMixture several({2}, 3);
  EXPECT_EQ(error_of([&] {
              one.log_prob(Tensor::zeros({4, 3}));
            }),
            "[discretized_logistic] a batch of the shape of the parameters (2) expected, the shape "
            "is (4, 3)");
  for (const Shape& shape : {Shape{}, Shape{4}, Shape{2}, Shape{4, 2, 3}, Shape{4, 1}}) {
    EXPECT_NE(error_of([&] { several.log_prob(Tensor::zeros(shape)); }), "no error") << shape;
    EXPECT_NE(error_of([&] { several.sample(shape, Random(1)); }), "no error") << shape;
  }
  for (double bad : {0.0, -1.0, HUGE_VAL, std::nan("")}) {
    EXPECT_NE(error_of([&] { DiscretizedLogistic({2}, {.step = bad}); }), "no error");
    EXPECT_NE(error_of([&] { DiscretizedLogistic({2}, {.scale = bad}); }), "no error");
  }
  for (double bad : {1e-60, 1e60})  // no numbers of float
    EXPECT_EQ(error_of([&] { DiscretizedLogistic({2}, {.step = bad}); }) == "no error", in_double);
  for (double bad : {HUGE_VAL, std::nan("")})
    EXPECT_NE(error_of([&] { DiscretizedLogistic({2}, {.mean = bad}); }), "no error");
  EXPECT_NE(error_of([] { DiscretizedLogisticMixture({2}, 0); }), "no error");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

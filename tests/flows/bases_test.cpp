// Base distributions, and densities with a base or a context of their own.
#include "backflow/flows/bases.h"

#include <numbers>

#include "backflow/engine/backward.h"
#include "backflow/engine/optimizer.h"
#include "backflow/flows/density.h"
#include "backflow/flows/elementwise/activations.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/sequential.h"
#include "backflow/tests/flows/check_flow.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double tolerance = in_double ? 1e-12 : 1e-5;

// ---- The logistic distribution ------------------------------------------------------------------

TEST(StandardLogistic, IsItsFormula) {
  const Tensor z({2, 2}, {0, 1, -3, 700});
  const Tensor log_p = StandardLogistic().log_prob(z).value();
  const auto of_one = [](double z) { return -z - 2 * std::log1p(std::exp(-z)); };
  EXPECT_NEAR(log_p[0], of_one(0) + of_one(1), tolerance);
  EXPECT_NEAR(log_p[1], of_one(3) - 700, 1000 * tolerance);  // even, and far out linear
  EXPECT_EQ(StandardLogistic().log_prob(Tensor::empty({0, 3})).shape(), Shape{0});
}

TEST(StandardLogistic, IntegratesTo1) {
  const Index n = 4001;
  const double step = 0.02;
  Tensor z = Tensor::empty({n, 1});
  for (Index i = 0; i < n; ++i)
    z.mutable_data()[i] = static_cast<Real>(step * static_cast<double>(i - n / 2));
  double total = 0;
  for (Real log_p : StandardLogistic().log_prob(z).value().values())
    total += step * std::exp(log_p);
  EXPECT_NEAR(total, 1, in_double ? 1e-12 : 1e-5);
}

TEST(StandardLogistic, SamplesAreThoseOfItsDensity) {
  const Index n = 100'000;
  const Tensor z = StandardLogistic().sample({n, 1}, Random(5));
  const double mean_z = sum(z).item() / n, mean_square = sum(z * z).item() / n;
  const double variance = std::numbers::pi * std::numbers::pi / 3;
  EXPECT_NEAR(mean_z, 0, 4 * std::sqrt(variance / n));
  EXPECT_NEAR(mean_square, variance, 4 * std::sqrt(3.2 * variance * variance / n));  // kurtosis 4.2
  const double entropy = -sum(StandardLogistic().log_prob(z).value()).item() / n;
  EXPECT_NEAR(entropy, 2, 4 * 1.0 / std::sqrt(n));  // in nats; -log p has a variance below 1
}

TEST(Bases, TemperatureMultipliesTheDistancesFromTheMiddle) {
  for (const Base* base : {static_cast<const Base*>(&standard_normal()),
                           static_cast<const Base*>(&standard_logistic())}) {
    const Tensor whole = base->sample({3, 2}, Random(1)),
                 half = base->sample({3, 2}, Random(1), 0.5);
    expect_close(half, whole * 0.5, tolerance, "half the distance");
    EXPECT_TRUE(all_finite(base->sample({100'000}, Random(2))));
  }
}

// ---- A base with parameters ---------------------------------------------------------------------

// N(mean, I).
class Moved : public Base {
 public:
  Var log_prob(const Var& z) const override { return standard_normal().log_prob(z - mean_); }
  Tensor sample(const Shape& z, const Random& random, double temperature) const override {
    return mean_.value() + standard_normal().sample(z, random, temperature);
  }

 private:
  Parameter& mean_ = add_parameter("mean", Tensor({2}, {1, -2}));
};

TEST(Density, HasTheParametersOfItsFlowAndOfItsBase) {
  const ActNorm flow(2);
  const Moved base;
  const Density density(flow, {2}, base);
  EXPECT_EQ(names_of(density), (std::vector<std::string>{"translation", "log_scale", "base.mean"}));
  EXPECT_EQ(density.buffers().size(), flow.buffers().size());
  EXPECT_EQ(names_of(Density(flow, {2})), names_of(flow));
}

TEST(Density, OfAMovedBaseIsMovedAndItsMeanLearns) {
  const Identity flow;
  const Moved base;
  const Density density(flow, {2}, base);
  const Tensor x({1, 2}, {1, -2});
  EXPECT_NEAR(density.log_prob(x)[0], -std::log(2 * std::numbers::pi), tolerance);
  EXPECT_EQ(density.sample(1, Random(1), 0)[1], -2);

  Adam adam(density.parameters());
  const Tensor data({2, 2}, {4, 5, 6, 5});
  for (int step = 0; step < 500; ++step) {
    Pass pass;
    pass.mode = Mode::train;
    adam.step(backward(-mean(density.objective(data, pass))), 0.1);
  }
  expect_close(density.parameters()[0].parameter->value(), Tensor({2}, {5, 5}), 1e-2, "the mean");
}

// ---- Contexts -----------------------------------------------------------------------------------

// z = x + the context's sum; a context as wide as it was built with.
class Shifted : public Flow {
 public:
  explicit Shifted(Index width) : width_(width) {}
  Index context() const override { return width_; }
  Out forward(const Var& x, Pass& pass) const override {
    check_context("shifted", width_, pass, x.size(0));
    return {width_ == 0 ? x : x + sum(pass.context, {1}, true), Tensor::zeros({x.size(0)})};
  }
  Tensor inverse(const Tensor& z, Pass& pass) const override {
    check_context("shifted", width_, pass, z.size(0));
    return width_ == 0 ? z : z - sum(pass.context.value(), {1}, true);
  }
  Out inverse_recorded(const Var& z, Pass& pass) const override {
    check_context("shifted", width_, pass, z.size(0));
    return {width_ == 0 ? z : z - sum(pass.context, {1}, true), Tensor::zeros({z.size(0)})};
  }

 private:
  Index width_;
};

std::unique_ptr<Sequential> shifted(std::initializer_list<Index> widths) {
  std::vector<std::unique_ptr<Flow>> layers;
  for (Index width : widths) layers.push_back(std::make_unique<Shifted>(width));
  return std::make_unique<Sequential>(std::move(layers));
}

TEST(Context, ReachesEveryLayerThatTakesOne) {
  const auto flow = shifted({3, 0, 3});
  EXPECT_EQ(flow->context(), 3);
  const Density density(*flow, {2});
  Pass pass;
  pass.context = Var::leaf(Tensor({2, 3}, {1, 2, 3, 0, 0, 1}));
  const Tensor x({2, 2}, {1, 2, 3, 4}), z({2, 2}, {13, 14, 5, 6});
  expect_close(density.forward(x, pass).z, z, tolerance, "z");
  expect_close(density.inverse(z, {}, pass).x, x, tolerance, "x");
  expect_close(flow->inverse_recorded(z, pass).z.value(), x, tolerance, "x, recorded");
  EXPECT_TRUE(pass.context.value().defined());
  Pass walk = pass;
  const Gradients gradients = backward(sum(flow->forward(x, walk).z));
  expect_close(gradients[pass.context], Tensor({2, 3}, {4, 4, 4, 4, 4, 4}), tolerance, "gradient");
  const Tensor samples = density.sample(2, Random(1), 0, pass);
  expect_close(samples, Tensor({2, 2}, {-12, -12, -2, -2}), tolerance, "samples");
}

TEST(Context, ThatIsMissingSuperfluousOrOfAnotherWidthFails) {
  const auto with = shifted({0, 3}), without = shifted({0});
  const Tensor x = Tensor::zeros({2, 2});
  const auto log_prob = [&](const Flow& flow, const Shape& context) {
    Pass pass;
    if (context.rank() > 0) pass.context = Tensor::zeros(context);
    return error_of([&] { Density(flow, {2}).log_prob(x, pass); });
  };
  EXPECT_EQ(log_prob(*with, {2, 3}), "no error");
  EXPECT_EQ(log_prob(*with, {}), "[density] a context (2, 3) is needed, pass.context is empty");
  EXPECT_EQ(log_prob(*with, {2, 4}), "[density] a context (2, 3) expected, pass.context is (2, 4)");
  EXPECT_EQ(log_prob(*with, {1, 3}), "[density] a context (2, 3) expected, pass.context is (1, 3)");
  EXPECT_EQ(log_prob(*without, {2, 3}),
            "[density] it was built without a context, but pass.context of (2, 3) is given");
  EXPECT_EQ(error_of([&] { Density(*with, {2}).sample(4, Random(1)); }),
            "[density] a context (4, 3) is needed, pass.context is empty");
  EXPECT_EQ(error_of([] {
              shifted({3, 0, 4})->context();
            }),
            "[flow] its parts take contexts of different widths, 3 and 4");
}

// ---- Samples with gradients ---------------------------------------------------------------------

// x = e^s z, the inverse of z = e^-s x.
class Scaled : public Flow {
 public:
  Out forward(const Var& x, Pass&) const override {
    return {x * exp(-log_scale_), broadcast_to(-2.0 * log_scale_, {x.size(0)})};
  }
  Tensor inverse(const Tensor& z, Pass&) const override { return z * exp(log_scale_).value(); }
  Out inverse_recorded(const Var& z, Pass&) const override {
    return {z * exp(log_scale_), broadcast_to(2.0 * log_scale_, {z.size(0)})};
  }

 private:
  Parameter& log_scale_ = add_parameter("log_scale", Tensor(Real(0.3)));
};

TEST(Density, RecordedSamplesAreThoseOfSampleWithTheirDensity) {
  const Scaled flow;
  const Density density(flow, {2});
  Pass pass;
  const auto [x, log_p] = density.recorded_sample_and_log_prob(50, Random(3), pass);
  expect_close(x.value(), density.sample(50, Random(3)), tolerance, "x");
  expect_close(log_p.value(), density.log_prob(x.value()), 10 * tolerance, "log_prob");
}

// The energy |x|^2 / (2 * 4) is that of N(0, 4 I), so reverse KL is least where e^s is 2.
TEST(Density, RecordedSamplesTrainByReverseKL) {
  const Scaled flow;
  const Density density(flow, {2});
  Adam adam(density.parameters());
  for (std::uint32_t step = 0; step < 400; ++step) {
    Pass pass;
    const auto [x, log_p] = density.recorded_sample_and_log_prob(256, Random(1).stream(step), pass);
    adam.step(backward(mean(log_p + sum_examples(square(x)) / Var(Real(8)))), 0.01);
  }
  EXPECT_NEAR(flow.parameters()[0].parameter->value().item(), std::log(2), 0.05);
}

TEST(Flow, WithoutAnInverseWithGradientsSaysSo) {
  const LeakyReLU flow;
  Pass pass;
  EXPECT_EQ(error_of([&] {
              flow.inverse_recorded(Tensor::zeros({1, 2}), pass);
            }),
            "[inverse_recorded] this flow has no inverse with gradients; inverse() gives x alone");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

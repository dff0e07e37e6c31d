// Likelihoods against densities and entropies that are known in closed form.
#include "backflow/flows/density.h"

#include <limits>
#include <numbers>

#include "backflow/flows/elementwise/activations.h"
#include "backflow/flows/elementwise/spline.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/image/coupling.h"
#include "backflow/flows/image/preprocessing.h"
#include "backflow/flows/image/squeeze.h"
#include "backflow/flows/linear/conv1x1.h"
#include "backflow/flows/linear/random_orthogonal.h"
#include "backflow/flows/linear/self_normalizing.h"
#include "backflow/flows/sequential.h"
#include "backflow/tests/flows/check_flow.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double tolerance = in_double ? 1e-12 : 1e-5;
const double log_2pi = std::log(2 * std::numbers::pi);

using FlowPtr = std::unique_ptr<Flow>;

template <class... Layers>
FlowPtr chain(Layers... layers) {
  std::vector<FlowPtr> all;
  (all.push_back(std::move(layers)), ...);
  return std::make_unique<Sequential>(std::move(all));
}

template <class F, class... Options>
FlowPtr make(Options... options) {
  return std::make_unique<F>(options...);
}

TEST(StandardNormal, IsItsFormula) {
  const Tensor z = Random(1).normal({4, 2, 3});
  const Var log_p = StandardNormal().log_prob(z);
  ASSERT_EQ(log_p.shape(), Shape{4});
  for (Index b = 0; b < 4; ++b) {
    double expected = 0;
    for (Index i = 6 * b; i < 6 * b + 6; ++i) expected -= 0.5 * (z[i] * z[i] + log_2pi);
    EXPECT_NEAR(log_p.value()[b], expected, 10 * tolerance);
  }
  EXPECT_EQ(StandardNormal().log_prob(Tensor::empty({0, 3})).shape(), Shape{0});
}

// ---- A Gaussian in the plane ------------------------------------------------------------------

// N(m, S), whose whitening z = L^-1 (x - m), S = L L^T, is worked out by hand.
struct Gaussian {
  const double mx = 1, my = -2, sxx = 4, sxy = 1.2, syy = 1, det = 2.56;
  const Tensor L = Tensor({2, 2}, {2, 0, 0.6, 0.8});
  const Tensor W = Tensor({2, 2}, {0.5, 0, -0.375, 1.25});
  const Tensor b = Tensor({2}, {-0.5, 2.875});  // -W m
  const double entropy = 1 + log_2pi + 0.5 * std::log(det);

  double log_prob(double x, double y) const {
    const double dx = x - mx, dy = y - my;
    const double distance = (syy * dx * dx - 2 * sxy * dx * dy + sxx * dy * dy) / det;
    return -0.5 * distance - log_2pi - 0.5 * std::log(det);
  }

  Tensor sample(Index n) const {
    Tensor x = Random(7).normal({n, 2});
    Real* p = x.mutable_data();
    for (Index i = 0; i < n; ++i, p += 2) {
      p[1] = my + L[2] * p[0] + L[3] * p[1];
      p[0] = mx + L[0] * p[0];
    }
    return x;
  }

  std::vector<FlowPtr> layers() const {
    std::vector<FlowPtr> all;
    all.push_back(make<Exact>(W, b));
    all.push_back(make<RelativeGradient>(W, b));
    all.push_back(make<SelfNormalizing>(W, L * 1.5, b));  // R is no inverse: it must not matter
    return all;
  }
};

TEST(Density, OfALinearFlowIsTheGaussianItWhitens) {
  const Gaussian gaussian;
  const Tensor x = gaussian.sample(50);
  for (const FlowPtr& flow : gaussian.layers())
    for (Mode mode : {Mode::exact, Mode::train}) {
      Pass pass;
      pass.mode = mode;
      const Tensor log_p = Density(*flow, {2}).log_prob(x, pass);
      ASSERT_EQ(log_p.shape(), Shape{50});
      for (Index i = 0; i < 50; ++i)
        EXPECT_NEAR(log_p[i], gaussian.log_prob(x[2 * i], x[2 * i + 1]), 20 * tolerance);
    }
}

TEST(Density, SamplesOfALinearFlowHaveItsMeanAndCovariance) {
  const Gaussian gaussian;
  const Index n = 20000;
  for (const FlowPtr& flow : gaussian.layers()) {
    Pass pass;
    pass.inverse = Inverse::exact;
    const Tensor x = Density(*flow, {2}).sample(n, Random(3, Purpose{3}), 1, pass);
    const Tensor centred = x - Tensor({2}, {1, -2});
    const Tensor first = mean(centred, {0}), second = mean(centred * centred, {0});
    const double error = 4 / std::sqrt(n);  // 4 standard errors of N(0, 1)'s mean
    EXPECT_NEAR(first[0], 0, error * 2);
    EXPECT_NEAR(first[1], 0, error);
    EXPECT_NEAR(second[0], gaussian.sxx, error * gaussian.sxx * std::sqrt(2));
    EXPECT_NEAR(second[1], gaussian.syy, error * gaussian.syy * std::sqrt(2));
  }
}

// ---- What a log-determinant that is wrong would break -----------------------------------------

struct Interval {
  double from, to;
};

// The midpoint rule, over cells that no kink at 0 divides.
double integral(const Flow& flow, Interval range, Index cells) {
  Tensor x = Tensor::empty({cells, 1});
  const double width = (range.to - range.from) / cells;
  for (Index i = 0; i < cells; ++i) x.mutable_data()[i] = range.from + width * (i + 0.5);
  double total = 0;
  for (Real log_p : Density(flow, {1}).log_prob(x).values()) total += width * std::exp(log_p);
  return total;
}

TEST(Density, IntegratesToOne) {
  struct Case {
    FlowPtr flow;
    Interval range;
    double tolerance;
  };
  std::vector<Case> cases;
  const auto add = [&](FlowPtr flow, Interval range, double tolerance = 1e-9) {
    cases.push_back({std::move(flow), range, in_double ? tolerance : 1e-5});
  };
  add(make<Identity>(), {-10, 10});
  add(make<Normalization>(3, -2.0), {-20, 20});
  for (double alpha : {0.1, 0.3, 1.0}) add(make<SmoothLeakyReLU>(alpha), {-100, 100});
  add(make<SmoothTanh>(1, 0.1), {-100, 100});
  add(make<SmoothTanh>(2, 0.5), {-40, 40});
  add(make<Logit>(), {0, 1});
  add(chain(make<Normalization>(0, 256), make<Logit>()), {0, 256});
  add(chain(make<Normalization>(0, 256), make<Normalization>(-1e-3, 1.25), make<Logit>()),
      {-0.256, 319.744});
  add(chain(make<SmoothTanh>(1, 0.2), make<Normalization>(0.5, 2), make<SmoothLeakyReLU>(0.3)),
      {-200, 200});
  for (double slope : {0.3, 2.5}) add(make<LeakyReLU>(slope), {-40, 40}, 1e-5);  // a jump at 0
  add(make<LearnableLeakyReLU>(), {-40, 40});
  for (std::size_t i = 0; i < cases.size(); ++i)
    EXPECT_NEAR(integral(*cases[i].flow, cases[i].range, 20000), 1, cases[i].tolerance)
        << "case " << i;
}

// A mean NLL below the entropy of the data is impossible, but for the noise of the mean.
TEST(Density, MeanNLLIsNotBelowTheEntropyOfTheData) {
  struct Case {
    std::string name;
    FlowPtr flow;
    Tensor x;
    double entropy, divergence;  // an upper bound of KL(data || flow)
  };
  const Index n = 20000;
  const Gaussian gaussian;
  const Tensor plane = gaussian.sample(n), uniform = Random(8).uniform({n, 3}) * 0.999999 + 5e-7;
  const Tensor logistic = (log(Var(uniform)) - log(1 - Var(uniform))).value();
  std::vector<Case> cases;
  const auto add = [&](const char* name, FlowPtr flow, Tensor x, double entropy,
                       double divergence) {
    cases.push_back({name, std::move(flow), x, entropy, divergence});
  };
  for (FlowPtr& flow : gaussian.layers())
    add("Gaussian, its flow", std::move(flow), plane, gaussian.entropy, 0);
  const Tensor close = gaussian.W * 1.1;
  add("Gaussian, nearly", make<Exact>(close, gaussian.b), plane, gaussian.entropy, 0.05);
  // A logistic variable has entropy 2 and variance pi^2 / 3; N(0, the same) is 0.0145 away.
  add("uniform", chain(make<Logit>(), make<Normalization>(0, 1.8138)), uniform, 0, 3 * 0.0145);
  add("logistic", make<Normalization>(0, 1.8138), logistic, 3 * 2, 3 * 0.0145);
  add("logistic, there and back",
      chain(make<Sigmoid>(), make<Logit>(), make<Normalization>(0, 1.8138)), logistic, 3 * 2,
      3 * 0.0145);
  add("logistic, kinked", chain(make<LeakyReLU>(0.9), make<Normalization>(0, 1.8138)), logistic,
      3 * 2, 0.2);
  add("logistic, curved", chain(make<SmoothTanh>(0.5, 0.5), make<Normalization>(0, 1.2)), logistic,
      3 * 2, 0.2);
  add("logistic, bent", chain(make<SmoothLeakyReLU>(0.9), make<Normalization>(0, 1.8)), logistic,
      3 * 2, 0.2);
  for (const Case& c : cases) {
    const Tensor nll = -Density(*c.flow, {c.x.size(1)}).log_prob(c.x);
    const double average = mean(nll).item();
    const double variance = mean((nll - Real(average)) * (nll - Real(average))).item();
    const double error = 4 * std::sqrt(variance / n);
    EXPECT_GE(average, c.entropy - error) << c.name;
    EXPECT_LE(average, c.entropy + c.divergence + error) << c.name;
  }
}

// ---- What log_prob, objective and sample do ---------------------------------------------------

struct Probe : Flow {
  mutable bool recorded = false;
  mutable Pass seen;
  using Flow::forward, Flow::inverse;
  Out forward(const Var& x, Pass& pass) const override {
    recorded = grad_enabled();
    seen = pass;
    pass.losses.push_back({Real(1), 1});
    return {x, Tensor::zeros({x.size(0)})};
  }
  Tensor inverse(const Tensor& z, Pass& pass) const override {
    seen = pass;
    return z;
  }
};

TEST(Density, LogProbIsExactAndRecordsNoHistory) {
  const Probe probe;
  Pass pass;
  pass.mode = Mode::train;
  pass.examples = {3, 4};
  Density(probe, {2}).log_prob(Tensor::zeros({2, 2}), pass);
  EXPECT_FALSE(probe.recorded);
  EXPECT_EQ(probe.seen.mode, Mode::exact);
  EXPECT_EQ(probe.seen.examples, pass.examples);
  EXPECT_TRUE(pass.losses.empty());
  EXPECT_TRUE(grad_enabled());
}

TEST(Density, ObjectiveKeepsTheModeAndCollectsLosses) {
  const Probe probe;
  Pass pass;
  pass.mode = Mode::train;
  const Var x = Var::leaf(Tensor({2, 2}, {1, 2, 3, 4}));
  const Var objective = Density(probe, {2}).objective(x, pass);
  EXPECT_EQ(probe.seen.mode, Mode::train);
  EXPECT_EQ(pass.losses.size(), 1u);
  EXPECT_EQ(objective.shape(), Shape{2});
  EXPECT_EQ(backward(sum(objective))[x].values(), (std::vector<Real>{-1, -2, -3, -4}));
}

TEST(Density, ObjectiveOfExactLayersIsTheLogLikelihood) {
  const Gaussian gaussian;
  const FlowPtr flow = chain(make<Exact>(gaussian.W, gaussian.b), make<SmoothLeakyReLU>());
  Pass pass;
  pass.mode = Mode::train;
  const Density density(*flow, {2});
  const Tensor x = gaussian.sample(9);
  expect_close(density.objective(x, pass).value(), density.log_prob(x), 1e-6, "objective");
}

TEST(Density, SampleIsTheInverseOfTheScaledBase) {
  const FlowPtr flow = make<SmoothTanh>(1, 0.1);
  const Density density(*flow, {2, 3, 5});
  const Random random(4, Purpose{3});
  for (Real temperature : {0.0, 0.7, 1.0}) {
    const Tensor x = density.sample(6, random, temperature);
    ASSERT_EQ(x.shape(), Shape({6, 2, 3, 5}));
    const Tensor z = random.normal({6, 2, 3, 5}) * temperature;
    EXPECT_EQ(x.values(), flow->inverse(z).values());
  }
  EXPECT_EQ(density.sample(0, random).shape(), Shape({0, 2, 3, 5}));
}

TEST(Density, TemperatureIsANumberOfAtLeastZero) {
  const FlowPtr flow = make<SmoothTanh>(1, 0.1);
  const Density density(*flow, {2});
  const double nan = std::numeric_limits<double>::quiet_NaN();
  for (const double temperature : {-0.5, nan, std::numeric_limits<double>::infinity()})
    EXPECT_TRUE(error_of([&] {
                  density.sample_and_log_prob(2, Random(1), temperature);
                }).starts_with("[sample] expected a temperature of at least 0, got "));
}

TEST(Density, SampleIsAFunctionOfTheSeedAndTheExample) {
  const FlowPtr flow = make<SmoothLeakyReLU>();
  const Density density(*flow, {3});
  const auto five = density.sample(5, Random(4)).values();
  EXPECT_EQ(density.sample(5, Random(4)).values(), five);
  EXPECT_NE(density.sample(5, Random(5)).values(), five);
  EXPECT_EQ(density.sample(3, Random(4)).values(), std::vector(five.begin(), five.begin() + 9));
}

TEST(Density, SampleAtTemperatureZeroIsTheInverseOfZero) {
  const Gaussian gaussian;
  for (const FlowPtr& flow : gaussian.layers()) {
    Pass pass;
    pass.inverse = Inverse::exact;
    const Tensor x = Density(*flow, {2}).sample(3, Random(4), 0, pass);
    expect_close(x, Tensor({3, 2}, {1, -2, 1, -2, 1, -2}), 10 * tolerance, "the mean");
  }
}

TEST(Density, SampleHandsThePassOn) {
  const Probe probe;
  Pass pass;
  pass.inverse = Inverse::exact;
  Density(probe, {2}).sample(1, Random(1), 1, pass);
  EXPECT_EQ(probe.seen.inverse, Inverse::exact);
}

// ---- The model as one map ---------------------------------------------------------------------

void shake(const Flow& flow, Real by = 0.1) {
  for (const auto& [name, parameter] : flow.parameters())
    parameter->set(parameter->value() + Random(name.size()).normal(parameter->shape()) * by);
}

FlowPtr spline(Index size) {
  return make<SplineActivation>(Random(1).normal({1, size, 5}), Random(2).normal({1, size, 5}),
                                Random(3).normal({1, size, 4}));
}

struct Map {
  const char* name;
  FlowPtr flow;
  Shape x, latent;
  std::size_t factored_out = 0;
};

// Every kind of inverse there is: by formula, by a root, by a factorization, learned beside it, and
// with split priors on the way.
std::vector<Map> maps() {
  std::vector<Map> all;
  const Tensor W = random_orthogonal(6, Random(1)), b = Random(2).normal({6});
  all.push_back(
      {"splines", chain(make<Exact>(W, b), spline(6), make<ActNorm>(Index{6})), {6}, {6}});
  all.push_back({"self-normalizing",
                 chain(make<SelfNormalizing>(W, W * 0.5, b), make<SmoothTanh>(1, 0.1)),
                 {6},
                 {6}});
  all.push_back({"couplings",
                 chain(make<ActNorm>(Index{2}), make<Squeeze>(),
                       make<ImageCoupling>(Index{8}, Index{5}, Random(3)),
                       make<SplitPrior>(Index{8}, Index{5}, Random(4)),
                       make<Conv1x1>(random_orthogonal(4, Random(5))),
                       make<SplitPrior>(Index{4}, Index{5}, Random(6))),
                 {2, 4, 4},
                 {2, 2, 2},
                 2});
  for (const Map& map : all) shake(*map.flow);
  return all;
}

Shape batch_of(Index n, const Shape& example) {
  Shape shape{n};
  for (Index size : example) shape.push_back(size);
  return shape;
}

std::vector<Real> latents_of(const Encoded& encoded) {
  std::vector<Real> all = encoded.z.values();
  for (const Tensor& left : encoded.factored_out)
    for (Real value : left.values()) all.push_back(value);
  return all;
}

// By central differences, for what leaves midway has no history.
Tensor jacobian_with_all_latents(const Density& density, const Tensor& x) {
  const Index D = x.size();
  const Real step = in_double ? 1e-5 : 1e-2;
  Tensor jacobian = Tensor::empty({D, D});
  for (Index i = 0; i < D; ++i) {
    Tensor after = x, before = x;
    after.mutable_data()[i] += step;
    before.mutable_data()[i] -= step;
    const auto z = latents_of(density.forward(after)), y = latents_of(density.forward(before));
    for (Index j = 0; j < D; ++j)
      jacobian.mutable_data()[j * D + i] = (z.at(j) - y.at(j)) / (2 * step);
  }
  return jacobian;
}

TEST(Density, ForwardHasTheLogDeterminantOfAllLatents) {
  for (const Map& map : maps()) {
    const Density density(*map.flow, map.latent);
    const Tensor x = Random(7).normal(batch_of(1, map.x));
    const Encoded encoded = density.forward(x);
    EXPECT_EQ(encoded.factored_out.size(), map.factored_out) << map.name;
    ASSERT_EQ(encoded.logdet.shape(), Shape{1}) << map.name;
    EXPECT_NEAR(encoded.logdet[0], LU(jacobian_with_all_latents(density, x)).log_abs_det(),
                in_double ? 1e-7 : 0.05)
        << map.name;
  }
}

TEST(Density, LogProbIsForwardsLogDeterminantAndTheNormalDensityOfAllLatents) {
  for (const Map& map : maps()) {
    const Density density(*map.flow, map.latent);
    const Tensor x = Random(7).normal(batch_of(3, map.x));
    Pass pass;
    pass.mode = Mode::train;  // does not matter
    const Encoded encoded = density.forward(x, pass);
    Tensor expected = encoded.logdet + StandardNormal().log_prob(encoded.z).value();
    for (const Tensor& left : encoded.factored_out)
      expected = expected + StandardNormal().log_prob(left).value();
    expect_close(density.log_prob(x), expected, 10 * tolerance, map.name);
  }
}

TEST(Density, InverseUndoesForwardAndItsLogDeterminant) {
  for (const Map& map : maps()) {
    const Density density(*map.flow, map.latent);
    const Tensor x = Random(7).normal(batch_of(3, map.x));
    const Encoded encoded = density.forward(x);
    const Decoded decoded = density.inverse(encoded.z, encoded.factored_out);
    expect_close(decoded.x, x, in_double ? 1e-9 : 1e-3, map.name);
    expect_close(decoded.logdet, -encoded.logdet, in_double ? 1e-8 : 1e-2, map.name);
  }
}

TEST(Density, SamplesComeWithTheirDensity) {
  for (const Map& map : maps()) {
    const Density density(*map.flow, map.latent);
    for (const double temperature : {1.0, 0.6}) {
      const Sample sample = density.sample_and_log_prob(4, Random(9), temperature);
      Pass exact;
      exact.inverse = Inverse::exact;
      EXPECT_EQ(sample.x.shape(), batch_of(4, map.x)) << map.name;
      EXPECT_EQ(sample.x.values(), density.sample(4, Random(9), temperature, exact).values());
      EXPECT_EQ(sample.log_prob.values(), density.log_prob(sample.x).values()) << map.name;
    }
  }
}

// The density of the sample is that of the noise it was made of, stretched.
TEST(Density, TheDensityOfASampleFollowsFromItsNoise) {
  const Map map = std::move(maps()[0]);
  const Density density(*map.flow, map.latent);
  const Random random(9, Purpose{3});
  const Tensor z = Latents{random}.draw({4, 6});
  const Sample sample = density.sample_and_log_prob(4, random);
  const Tensor expected = StandardNormal().log_prob(z).value() - density.inverse(z).logdet;
  expect_close(sample.log_prob, expected, in_double ? 1e-8 : 1e-2, "log_prob");
}

TEST(Density, OfRoundedSamplesThereIsNone) {
  const FlowPtr flow = chain(chain(make<Normalization>(0, 2), make<Dequantization>()));
  const Density density(*flow, {3});
  const std::string reason =
      "the inverse of dequantization rounds to whole numbers, which have a probability and no "
      "density; Flow::inverse() and Density::sample() give x alone";
  EXPECT_EQ(error_of([&] { density.sample_and_log_prob(2, Random(1)); }),
            "[sample_and_log_prob] " + reason);
  EXPECT_EQ(error_of([&] { density.inverse(Tensor::zeros({2, 3})); }), "[inverse] " + reason);
  EXPECT_EQ(density.forward(Tensor::zeros({2, 3})).z.shape(), Shape({2, 3})) << "has no such need";
  for (const Map& map : maps()) EXPECT_EQ(map.flow->why_no_bijection(), nullptr) << map.name;
}

TEST(Density, LatentsThatDoNotFitAreRefused) {
  const Map map = std::move(maps()[2]);
  const Density density(*map.flow, map.latent);
  const Encoded e = density.forward(Random(7).normal({2, 2, 4, 4}));
  EXPECT_EQ(error_of([&] {
              density.inverse(Tensor::zeros({2, 8}), e.factored_out);
            }),
            "[inverse] a batch of latents of shape (2, 2, 2) expected, the shape is (2, 8)");
  EXPECT_NE(error_of([&] { density.inverse(Tensor(), e.factored_out); }), "no error");
  EXPECT_NE(error_of([&] { density.inverse(Tensor(1), e.factored_out); }), "no error");
  EXPECT_EQ(error_of([&] { density.inverse(e.z, {e.factored_out[1]}); }),
            "[split_prior] the pass has nothing factored out to pop, and no latents to draw from");
  EXPECT_EQ(error_of([&] {
              density.inverse(e.z, {e.factored_out[0], e.factored_out[0], e.factored_out[1]});
            }),
            "[inverse] 3 tensors factored out were given, but the flow takes 2");
  EXPECT_NE(error_of([&] {
              density.inverse(e.z, {e.factored_out[1], e.factored_out[0]});
            }),
            "no error");
  EXPECT_NE(error_of([&] { density.inverse(e.z, {e.factored_out[0], Tensor()}); }), "no error");
}

TEST(Density, WrongLatentShapeIsNamed) {
  const Gaussian gaussian;
  for (const FlowPtr& flow : gaussian.layers()) {
    EXPECT_EQ(error_of([&] { Density(*flow, {3}).sample(4, Random(1)); }),
              "[linear] examples of 2 values expected, the input's shape is (4, 3)");
    EXPECT_EQ(error_of([&] {
                Density(*flow, {2}).log_prob(Tensor::zeros({4, 5}));
              }),
              "[linear] examples of 2 values expected, the input's shape is (4, 5)");
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

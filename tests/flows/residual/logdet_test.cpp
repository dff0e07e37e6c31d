// Estimates of log-determinants: what they are in the mean, and of which numbers they are made.
#include "backflow/flows/residual/logdet.h"

#include <functional>

#include "backflow/engine/backward.h"
#include "backflow/flows/density.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/flows/residual/random_block.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Numbers of which each is drawn many times.
class Moments {
 public:
  void add(const Tensor& drawn) {
    sum_.resize(drawn.size());
    squares_.resize(drawn.size());
    for (Index i = 0; i < drawn.size(); ++i) {
      sum_[i] += drawn[i];
      squares_[i] += double{drawn[i]} * drawn[i];
    }
    ++n_;
  }
  double mean(Index i) const { return sum_[i] / n_; }
  double standard_error(Index i) const {
    return std::sqrt(std::max(0.0, squares_[i] / n_ - mean(i) * mean(i)) / (n_ - 1));
  }
  // The largest distance from what is expected, in standard errors. What rounding explains is none.
  double worst(const Tensor& expected) const {
    double worst = 0;
    for (Index i = 0; i < expected.size(); ++i) {
      const double rounding = (in_double ? 1e-10 : 1e-5) * (1 + std::abs(double{expected[i]}));
      const double distance = std::abs(mean(i) - expected[i]);
      if (distance > rounding) worst = std::max(worst, distance / standard_error(i));
    }
    return worst;
  }

 private:
  double n_ = 0;
  std::vector<double> sum_, squares_;
};

// Of one x, drawn 10,000 times: the estimate of log det(I + J), its gradient by x, and that by all
// parameters, of which a draw is the mean of 100.
struct Draws {
  Moments logdet, by_x;
  std::map<std::string, Moments> by_parameter;
};

Draws draw(const Residual& block, const Tensor& x) {
  constexpr Index at_once = 100;
  Draws draws;
  for (std::uint32_t epoch = 0; epoch < 100; ++epoch) {
    Pass pass = training();
    pass.noise = pass.noise->at_epoch(epoch);
    const Var batch = Var::leaf(broadcast_to(x, {at_once, x.size(1)}));
    const Var logdet = block.forward(batch, pass).logdet;
    const Gradients gradients = backward(sum(logdet));
    for (Index b = 0; b < at_once; ++b) {
      draws.logdet.add(slice(logdet.value(), 0, b, b + 1));
      draws.by_x.add(slice(gradients[batch], 0, b, b + 1));
    }
    for (const auto& [name, parameter] : block.parameters())
      draws.by_parameter[name].add(gradients[*parameter] * (Real(1) / at_once));
  }
  return draws;
}

double worst(const Residual& block, const Tensor& x) {
  const Draws draws = draw(block, x);
  const Var at = Var::leaf(x);
  const Var exact = block.forward(at).logdet;
  const Gradients gradients = backward(sum(exact));
  double worst = std::max(draws.logdet.worst(exact.value()), draws.by_x.worst(gradients[at]));
  for (const auto& [name, parameter] : block.parameters())
    worst = std::max(worst, draws.by_parameter.at(name).worst(gradients[*parameter]));
  return worst;
}

// Layers near a multiple of the identity, so that J is not small and late terms of the series
// matter: up to c^2 with two of them.
std::unique_ptr<Residual> steep_block(Index D, LogdetEstimator estimator,
                                      SeriesOptions series = {}) {
  const LipschitzOptions net{.hidden = {D}, .activation = Contraction::Kind::sin, .c = 0.8};
  auto block = random_block(D, {.net = net, .estimator = estimator, .series = series}, 3, 0.3);
  for (const auto& [name, parameter] : block->parameters())
    if (name.ends_with("weight")) parameter->set(parameter->value() + Tensor::identity(D));
  return block;
}

// The mean of 10,000 draws is within 4 standard errors of the value and of every gradient.
TEST(Estimators, RouletteAndNeumannAreUnbiased) {
  for (const auto estimator : {LogdetEstimator::roulette, LogdetEstimator::neumann})
    for (const Index D : {1, 3})
      for (const SeriesOptions series : {SeriesOptions{}, SeriesOptions{.terms = 0, .stop = 0.3}}) {
        const auto block = steep_block(D, estimator, series);
        EXPECT_LT(worst(*block, Random(8).normal({1, D}) * Real(0.3)), 4)
            << D << " dimensions, from " << series.terms << " terms on";
      }
}

TEST(Estimators, TruncatedSeriesIsBiased) {
  const auto block = steep_block(3, LogdetEstimator::truncated, {.terms = 1});
  EXPECT_GT(worst(*block, Random(8).normal({1, 3}) * Real(0.3)), 10);
}

TEST(Estimators, LongTruncatedSeriesIsTheLogDeterminantInTheMean) {
  const auto block = steep_block(3, LogdetEstimator::truncated, {.terms = 60});
  EXPECT_LT(worst(*block, Random(8).normal({1, 3}) * Real(0.3)), 4);
}

TEST(Estimators, NeumannHasTheValueOfTheRouletteForTheSameNumbers) {
  const auto neumann = steep_block(4, LogdetEstimator::neumann),
             roulette = steep_block(4, LogdetEstimator::roulette);
  const Tensor x = Random(8).normal({20, 4});
  Pass a = training(), b = training(), c = training();
  const Tensor value = neumann->forward(x, a).logdet.value();
  expect_close(value, roulette->forward(x, b).logdet.value(), in_double ? 1e-12 : 1e-5, "logdet");
  const NoGrad no_grad;
  EXPECT_EQ(neumann->forward(x, c).logdet.value().values(), value.values());
}

// ---- The numbers that they are made of
// -----------------------------------------------------------

TEST(Probe, WeightsAreOneInTheMean) {
  const SeriesOptions options{.terms = 2, .stop = 0.5};
  const Index n = 40000;
  const Probe probe = draw_probe(Random(3).uniform({n, 5}), options);
  ASSERT_EQ(probe.v.shape(), Shape({n, 3}));
  for (const Real v : probe.v.values()) ASSERT_EQ(std::abs(v), 1);
  EXPECT_LT(std::abs(mean(probe.v).item()), 4 / std::sqrt(3.0 * n));
  ASSERT_GT(probe.c.size(), 10u);
  for (std::size_t k = 1; k <= 8; ++k) {
    const Tensor& c = probe.c[k - 1];
    const double reached = k <= 3 ? 1 : std::pow(0.5, static_cast<double>(k) - 3);
    for (const Real weight : c.values())
      if (weight != 0) {
        ASSERT_NEAR(weight, 1 / reached, 1e-6 / reached);
      }
    const double error = std::sqrt((1 / reached - 1) / n);
    EXPECT_NEAR(mean(c).item(), 1, 4 * error + 1e-12) << "term " << k;
  }
}

TEST(Probe, TruncatedSeriesHasItsTermsAndNoOthers) {
  const Probe probe = draw_probe(Random(3).uniform({9, 3}), {.terms = 4, .stop = 1});
  ASSERT_EQ(probe.c.size(), 4u);
  for (const Tensor& c : probe.c)
    for (const Real weight : c.values()) EXPECT_EQ(weight, 1);
}

TEST(Probe, IsFiniteForTheLargestUniformNumbers) {
  const Real most = 1 - std::numeric_limits<Real>::epsilon() / 2;
  const Probe probe = draw_probe(Tensor({1, 3}, {most, most, most}), {});
  EXPECT_LT(probe.c.size(), 120u);
  EXPECT_GT(probe.c.size(), 40u);  // a single float would end at 26
  EXPECT_TRUE(std::isfinite(probe.c.back().item()));
}

TEST(Estimators, EachBlockAndEachEpochHasNumbersOfItsOwn) {
  const auto block = steep_block(4, LogdetEstimator::neumann);
  const Tensor x = Random(8).normal({20, 4});
  Pass pass = training(), again = training(), later = training();
  later.noise = later.noise->at_epoch(1);
  const auto values = [&](Pass& walk) { return block->forward(x, walk).logdet.value().values(); };
  const auto first = values(pass);
  EXPECT_EQ(values(again), first);
  EXPECT_NE(values(pass), first) << "a second block of the walk";
  EXPECT_NE(values(later), first) << "another epoch";
}

TEST(Estimators, FailWithoutNoise) {
  const auto block = random_block(2, {});
  Pass pass;
  pass.mode = Mode::train;
  EXPECT_EQ(error_of([&] {
              block->forward(Tensor::zeros({3, 2}), pass);
            }),
            "[residual] training estimates the log-determinant from random numbers: pass.noise is "
            "needed, another one in each epoch");
  pass = training();
  pass.examples = {1, 2};
  EXPECT_EQ(error_of([&] {
              block->forward(Tensor::zeros({3, 2}), pass);
            }),
            "[residual] the pass names 2 examples, the shape is (3, 4)");
}

// ---- Density::log_prob_estimate
// -------------------------------------------------------------------

TEST(LogProbEstimate, StandsInWhereThereAreTooManyDimensions) {
  const Index D = Residual::most_exact + 1;
  const auto block = random_block(D, {.net = {.hidden = {40}, .c = 0.9}});
  const Density density(*block, {D});
  const Tensor x = Random(8).normal({5, D});
  EXPECT_EQ(error_of([&] { density.log_prob(x); }),
            "[residual] the exact log-determinant is for up to 64 dimensions, not 65; "
            "Density::log_prob_estimate() gives an unbiased estimate and its standard error");
  const Linearized at = block->net().at(x);
  const Tensor exact =
      standard_normal().log_prob(x + at.value).value() + exact_logdet(block->net(), at).value();
  const Estimate estimate = density.log_prob_estimate(x, Random(3), 100);
  for (Index b = 0; b < 5; ++b) {
    EXPECT_NEAR(estimate.value[b], exact[b], 4.5 * estimate.standard_error[b]);
    EXPECT_GT(estimate.standard_error[b], 0);
    EXPECT_LT(estimate.standard_error[b], 1);
  }
  EXPECT_EQ(density.log_prob_estimate(x, Random(3), 100).value.values(), estimate.value.values());
}

TEST(LogProbEstimate, IsExactWhereTheFlowIs) {
  const auto block = random_block(2, {});
  const Density density(*block, {2});
  const Tensor x = Random(8).normal({5, 2});
  const Estimate estimate = density.log_prob_estimate(x, Random(3));
  expect_close(estimate.value, density.log_prob(x), in_double ? 1e-14 : 1e-6, "value");
  EXPECT_EQ(max(estimate.standard_error).item(), 0);
  EXPECT_EQ(error_of([&] { density.log_prob_estimate(x, Random(3), 1); }),
            "[log_prob_estimate] at least 2 draws expected, for a standard error, got 1");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

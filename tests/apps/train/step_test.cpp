#include "backflow/apps/train/step.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "backflow/apps/data/purposes.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/tests/apps/model/small_model.h"
#include "backflow/tests/factorizations.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double tolerance = sizeof(Real) == sizeof(double) ? 1e-10 : 1e-4;

// A model, its optimizer and one training step of it.
struct Trainer {
  explicit Trainer(const Config& config)
      : config(config), model(config, small_image), optimizer(make_optimizer(config, model)) {}
  explicit Trainer(const std::string& layer) : Trainer(small_config(layer)) {}

  StepResult step(const Tensor& images = image_batch(5), double learning_rate = 0.01) {
    return training_step(model, *optimizer, config, images, pass, learning_rate);
  }
  double nll() const { return evaluate(model, random_images(50), Split::test, Noise::uniform).nll; }

  Config config;
  Model model;
  std::unique_ptr<Optimizer> optimizer;
  Pass pass;
};

double norm_of_first_moments(Optimizer& optimizer) {
  double sum_of_squares = 0;
  for (const auto& [name, tensor] : optimizer.state())
    if (name.starts_with("adam.m."))
      for (Real m : tensor->values()) sum_of_squares += double{m} * m;
  return std::sqrt(sum_of_squares);
}

TEST(TrainingStep, FactorizesNothingUnlessTheLayersAreExact) {
  for (const std::string& layer : small_layers) {
    Trainer trainer(layer);
    const Index before = factorizations();
    trainer.step();
    trainer.step();
    EXPECT_EQ(factorizations() - before, layer == "exact" ? 4 : 0) << layer;
  }
}

TEST(TrainingStep, LowersTheExactNllOfEveryKindOfLayer) {
  for (const std::string& layer : small_layers) {
    Trainer trainer(layer);
    const double before = trainer.nll();
    for (std::uint32_t i = 0; i < 100; ++i) trainer.step(image_batch(10, 10 * (i % 5)));
    EXPECT_LT(trainer.nll(), before - 1) << layer;
  }
}

TEST(TrainingStep, TheObjectiveOfExactLayersIsTheirNll) {
  Trainer trainer("exact");
  trainer.step();
  trainer.pass.noise = Random(3);
  const double nll = -mean(trainer.model.density().log_prob(image_batch(5), trainer.pass)).item();
  EXPECT_NEAR(trainer.step().objective, nll, tolerance * nll);
}

TEST(TrainingStep, TheObjectiveOfOtherLayersLacksTheirLogDeterminants) {
  for (const std::string layer : {"self_normalizing", "relative_gradient"}) {
    Trainer trainer(layer);
    double logdet = 0;
    for (const char* name : {"4.weight_fwd", "6.weight_fwd"}) {
      Parameter& W = parameter_of(trainer.model, name);
      W.set(W.value() * 1.5);
      logdet += LU(W.value()).log_abs_det();
    }
    const double nll = -mean(trainer.model.density().log_prob(image_batch(5))).item();
    EXPECT_NEAR(trainer.step().objective, nll + logdet, tolerance * nll) << layer;
  }
}

TEST(TrainingStep, ReportsTheReconstructionLossWithoutItsWeight) {
  const auto second_step = [](double weight) {
    Config config = small_config();
    config.recon_weight = weight;
    Trainer trainer(config);
    EXPECT_EQ(trainer.step(image_batch(5), 0).reconstruction, 0);  // it begins at R = W^-1
    parameter_of(trainer.model, "4.weight_inv").set(Tensor::zeros({16, 16}));
    return trainer.step();
  };
  EXPECT_GT(second_step(1).reconstruction, 1);
  EXPECT_EQ(second_step(1).reconstruction, second_step(3).reconstruction);
  EXPECT_EQ(second_step(1).objective, second_step(3).objective);
  EXPECT_EQ(Trainer("exact").step().reconstruction, 0);
}

TEST(TrainingStep, TakesItsNoiseFromThePass) {
  const auto objective = [](std::optional<Random> noise) {
    Trainer trainer("exact");
    trainer.pass.noise = noise;
    return trainer.step().objective;
  };
  EXPECT_EQ(objective(Random(1)), objective(Random(1)));
  EXPECT_NE(objective(Random(1)), objective(Random(2)));
  EXPECT_NE(objective(Random(1)), objective({}));
}

TEST(TrainingStep, ClipsOnlyAGradientThatIsTooLong) {
  const auto trained = [](double max_norm) {
    Config config = small_config();
    config.max_grad_norm = max_norm;
    Trainer trainer(config);
    trainer.step();
    return trainer;
  };
  const double norm = norm_of_first_moments(*trained(0).optimizer) / 0.1;  // m = (1 - 0.9) g
  ASSERT_GT(norm, 0.5);
  EXPECT_NEAR(norm_of_first_moments(*trained(0.5).optimizer) / 0.1, 0.5, tolerance);
  EXPECT_EQ(values_of(trained(1.01 * norm).model), values_of(trained(0).model));
}

TEST(TrainingStep, FollowsTheLearningRate) {
  Trainer still("exact"), moving("exact");
  const auto before = values_of(still.model);
  still.step(image_batch(5), 0);
  moving.step(image_batch(5), 0.01);
  EXPECT_EQ(values_of(still.model), before);
  EXPECT_NE(values_of(moving.model), before);
}

TEST(TrainingStep, DivergenceNamesTheOpAndLeavesEverythingAsItWas) {
  const Real huge = std::numeric_limits<Real>::max();
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"exact", "'matmul'"},
      {"self_normalizing", "'self_normalizing'"},
      {"relative_gradient", "'relative_gradient'"}};
  for (const auto& [layer, op] : cases) {
    Trainer trainer(layer);
    trainer.step();
    parameter_of(trainer.model, "6.weight_fwd").set(Tensor::identity(16) * huge);
    const auto before = values_of(trainer.model);
    EXPECT_THROW(trainer.step(), Diverged);
    expect_message(message_of([&] { trainer.step(); }), op, "not finite");
    EXPECT_EQ(values_of(trainer.model), before) << layer;
    EXPECT_EQ(trainer.optimizer->steps(), 1) << layer;
  }
}

TEST(TrainingStep, DivergenceOfTheLossAloneIsFoundToo) {
  Trainer trainer("exact");
  const Real root = std::sqrt(std::numeric_limits<Real>::max());
  parameter_of(trainer.model, "6.bias_fwd").set(Tensor::full({16}, 2 * root));
  expect_message(message_of([&] { trainer.step(); }), "the value of 'square' is not finite");
}

TEST(Evaluate, IsRepeatable) {
  for (const std::string& layer : small_layers) {
    const Trainer trainer(layer);
    EXPECT_EQ(trainer.nll(), trainer.nll()) << layer;
  }
}

TEST(Evaluate, DoesNotDependOnTheBatchesItIsCutInto) {
  const Trainer trainer("exact");
  const ImageSet images = random_images(1003);
  Pass pass;
  const double at_once = -mean(trainer.model.density().log_prob(image_batch(1003), pass)).item();
  const auto nll = [&](Split split, Noise noise, Index limit) {
    return evaluate(trainer.model, images, split, noise, limit);
  };
  EXPECT_NEAR(nll(Split::test, Noise::midpoint, 0).nll, at_once, tolerance * at_once);
  // Image 500 is the first of its batch, but its noise is its own.
  const double up_to_it = nll(Split::test, Noise::uniform, 501).nll * 501;
  const double before_it = nll(Split::test, Noise::uniform, 500).nll * 500;
  pass.noise = Random(0, purposes::dequantization);
  pass.examples = {500 + (2u << 30)};
  const double alone = -trainer.model.density().log_prob(image_batch(1, 500), pass).item();
  EXPECT_NEAR(up_to_it - before_it, alone, tolerance * alone);
}

TEST(Evaluate, IsWatchedAfterEveryBatchAndMayBeStoppedThere) {
  const Trainer trainer("exact");
  const ImageSet images = random_images(230);
  std::vector<std::pair<Index, Index>> seen;
  const auto evaluate_until = [&](Index last) {
    evaluate(trainer.model, images, Split::test, Noise::uniform, 0, one_rank(),
             [&](Index done, Index all) {
               seen.emplace_back(done, all);
               if (done == last) throw last;
             });
  };
  evaluate_until(-1);
  EXPECT_EQ(seen, (std::vector<std::pair<Index, Index>>{{100, 230}, {200, 230}, {230, 230}}));
  EXPECT_THROW(evaluate_until(200), Index);
  EXPECT_EQ(seen.size(), 5u);
}

TEST(Evaluate, TheLimitTakesTheFirstImages) {
  const Trainer trainer("exact");
  const auto limited = [&](Index limit) {
    return evaluate(trainer.model, random_images(20), Split::test, Noise::uniform, limit);
  };
  EXPECT_EQ(limited(0).images, 20);
  EXPECT_EQ(limited(99).images, 20);
  EXPECT_EQ(limited(3).images, 3);
  EXPECT_EQ(limited(20).first.size(), 5u);
  ASSERT_EQ(limited(3).first.size(), 3u);
  for (std::size_t i = 0; i < 3; ++i)
    EXPECT_NEAR(limited(3).first[i], limited(20).first[i], tolerance * 100);
}

TEST(Evaluate, EverySplitHasItsOwnNoise) {
  const Trainer trainer("exact");
  const auto nll = [&](Split split, Noise noise) {
    return evaluate(trainer.model, random_images(20), split, noise).nll;
  };
  const double train = nll(Split::train, Noise::uniform);
  const double validation = nll(Split::validation, Noise::uniform);
  const double test = nll(Split::test, Noise::uniform);
  EXPECT_NE(train, validation);
  EXPECT_NE(train, test);
  EXPECT_NE(validation, test);
  EXPECT_NE(nll(Split::test, Noise::midpoint), test);
  EXPECT_EQ(nll(Split::test, Noise::midpoint), nll(Split::train, Noise::midpoint));
}

TEST(Evaluate, FactorizesEachMatrixOnceUntilItChanges) {
  Trainer trainer("self_normalizing");
  const Index before = factorizations();
  trainer.nll();
  trainer.nll();
  EXPECT_EQ(factorizations() - before, 2);
  trainer.step();
  trainer.nll();
  EXPECT_EQ(factorizations() - before, 4);
}

TEST(Evaluate, TheStandardErrorIsThatOfTheMean) {
  const Trainer trainer("exact");
  const ImageSet images = random_images(5);
  const Likelihood five = evaluate(trainer.model, images, Split::test, Noise::uniform);
  double mean = 0, variance = 0;
  for (double log_prob : five.first) mean += log_prob / 5;
  for (double log_prob : five.first) variance += (log_prob - mean) * (log_prob - mean) / 4;
  EXPECT_NEAR(five.nll, -mean, tolerance * five.nll);
  EXPECT_NEAR(five.standard_error, std::sqrt(variance / 5), tolerance * five.nll);
  EXPECT_GT(five.standard_error, 0);
  const Likelihood one = evaluate(trainer.model, images, Split::test, Noise::uniform, 1);
  EXPECT_EQ(one.standard_error, 0);
}

TEST(Evaluate, ASingularMatrixIsAnError) {
  const Trainer trainer("self_normalizing");
  parameter_of(trainer.model, "4.weight_fwd").set(Tensor::zeros({16, 16}));
  expect_message(message_of([&] { trainer.nll(); }), "logabsdet", "singular");
}

TEST(BitsPerDim, EightOfThemAreUniformPixels) {
  EXPECT_NEAR(bits_per_dim(16 * 8 * std::numbers::ln2, small_image), 8, 1e-12);
}

// ---- Where the likelihood is estimated ----------------------------------------------------------

// More pixels than the exact log-determinant of a residual block is for.
struct Estimated {
  static constexpr int side = 9;
  Config config = find_experiment("residual_mnist").config;
  ImageSet images{1, side, side, {}};
  std::unique_ptr<Model> model;

  Estimated() {
    config.width = 8;
    config.num_layers = 2;
    for (Real u : Random(1).uniform({120 * side * side}).values())
      images.pixels.push_back(static_cast<std::uint8_t>(u < Real(0.5) ? 0 : 256 * u));
    model = std::make_unique<Model>(config, ImageShape{1, side, side});
  }
  void train(int steps) const {
    std::vector<std::uint32_t> rows(20);
    std::iota(rows.begin(), rows.end(), 0u);
    const auto optimizer = make_optimizer(config, *model);
    for (int step = 0; step < steps; ++step) {
      Pass pass;
      pass.noise = Random(7, purposes::dequantization, static_cast<std::uint32_t>(step));
      pass.examples = rows;
      training_step(*model, *optimizer, config, to_tensor(images, rows), pass, 3e-3);
    }
  }
  Likelihood of(Noise noise, Index limit = 0) const {
    return evaluate(*model, images, Split::test, noise, limit);
  }
};

TEST(EstimatedLikelihood, IsTheSameForAnImageHoweverManyAreLookedAt) {
  const Estimated estimated;
  estimated.train(5);
  EXPECT_FALSE(estimated.model->has_exact_likelihood());
  for (const Noise noise : {Noise::uniform, Noise::midpoint}) {
    const Likelihood all = estimated.of(noise), few = estimated.of(noise, 7);
    EXPECT_EQ(all.images, 120);
    ASSERT_EQ(few.first.size(), 5u);
    for (int i = 0; i < 5; ++i) EXPECT_NEAR(all.first[i], few.first[i], 1e-3);
    EXPECT_GT(all.standard_error, 0);
    EXPECT_EQ(estimated.of(noise).nll, all.nll);
  }
}

TEST(EstimatedLikelihood, RisesWithTraining) {
  const Estimated estimated;
  estimated.train(1);
  const double before = estimated.of(Noise::midpoint, 20).nll;
  estimated.train(100);
  EXPECT_LT(estimated.of(Noise::midpoint, 20).nll, before - 10);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

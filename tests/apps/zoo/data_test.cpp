#include "backflow/apps/zoo/data.h"

#include <gtest/gtest.h>

#include "backflow/apps/zoo/report.h"
#include "backflow/apps/zoo/rounded.h"
#include "backflow/apps/zoo/run.h"
#include "backflow/ops/pointwise.h"
#include "backflow/tests/apps/files/scratch.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

ZooConfig config_of(const std::string& flow, const std::string& target) {
  ZooConfig config = zoo_defaults(flow, target);
  config.layers = 2;
  config.batch_size = 8;
  return config;
}

// The identity, which says that it stretches volumes by exp(extra).
class Stretched : public Flow {
 public:
  explicit Stretched(double extra) : extra_(static_cast<Real>(extra)) {}
  Out forward(const Var& x, Pass&) const override { return {x, Tensor::full({x.size(0)}, extra_)}; }
  Tensor inverse(const Tensor& z, Pass&) const override { return z; }

 private:
  Real extra_;
};

TEST(ZooScores, ALogdetThatIsTooLargeIsFound) {
  const auto data = load_zoo_data(config_of("maf", "8gaussians"));
  const auto score = [&](double extra) {
    const Stretched flow(extra);
    const Density density(flow, {2});
    return data->validation(density);
  };
  const ZooScore right = score(0), wrong = score(5);
  EXPECT_GT(right.kl, 0);
  EXPECT_FALSE(right.impossible());
  EXPECT_EQ(verdict(right), 0);
  EXPECT_NEAR(wrong.kl, right.kl - 5, 1e-4);
  ASSERT_LT(wrong.kl, 0);
  EXPECT_TRUE(wrong.impossible());
  testing::internal::CaptureStderr();
  EXPECT_EQ(verdict(wrong), 4);
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_NE(line.find("below 0 by"), line.npos) << line;
  EXPECT_NE(line.find("a log-determinant is wrong\n"), line.npos) << line;
}

TEST(ZooScores, ADifferenceHasLessNoiseThanTheNll) {
  const auto data = load_zoo_data(config_of("maf", "moons"));
  const Tensor points = data->points(500);
  const Tensor log_p = data->truth()(points);
  const ZooScore score = score_of(log_p - Tensor::full({500}, Real(0.25)), log_p, 2.4);
  EXPECT_NEAR(score.kl, 0.25, 1e-5);
  EXPECT_LT(score.kl_error, 1e-5);
  EXPECT_GT(score.nll_error, 0.01);
  EXPECT_NEAR(score.estimate(), 2.65, 1e-5);
}

TEST(ZooData, AnEnergyIsScoredByTheFreeEnergy) {
  const ZooConfig config = config_of("planar", "u1");
  const auto data = load_zoo_data(config);
  const ZooDensity density(config, 2, 0);
  const ZooScore score = data->report(density);
  EXPECT_EQ(score.count, 20'000);
  EXPECT_NEAR(*score.bound, -1.8775016, 1e-6);
  EXPECT_NEAR(score.kl, score.nll + 1.8775016, 1e-6);
  EXPECT_GT(score.kl, 0.1);
  EXPECT_GT(score.kl_error, 0);
  EXPECT_LT(score.kl_error, score.kl / 4);  // whatever the flow begins with
}

TEST(ZooData, TheSameSeedAndStepHaveTheSameExamples) {
  const Scratch scratch;
  std::string table;
  for (int i = 0; i < 40; ++i)
    table += std::to_string(i % 7) + "," + std::to_string(i * i % 11) + "\n";
  ZooConfig of_table = config_of("maf", "");
  of_table.data = scratch.write("table.csv", table);
  of_table.batch_size = 20;  // of 32 rows to train with
  for (const ZooConfig& config : {config_of("maf", "moons"), of_table, config_of("planar", "u2")}) {
    const auto losses = [&](Index seed) {
      ZooConfig seeded = config;
      seeded.seed = seed;
      const auto data = load_zoo_data(seeded);
      const ZooDensity density(config, 2, 0);
      std::vector<double> all;
      for (const Index step : {1, 2, 3, 7, 1}) {
        Pass pass;
        all.push_back(data->loss(density, step, pass).item());
      }
      return all;
    };
    const auto first = losses(0);
    EXPECT_EQ(first[0], first[4]) << config.flow;
    EXPECT_NE(first[0], first[1]) << config.flow;
    EXPECT_EQ(losses(0), first);
    EXPECT_NE(losses(1), first);
  }
}

TEST(ZooData, ScoresAreWatched) {
  for (const std::string target : {"8gaussians", "u1"}) {
    const ZooConfig config = config_of("planar", target);
    const auto data = load_zoo_data(config);
    const ZooDensity density(config, 2, 0);
    for (const bool validation : {true, false}) {
      std::vector<Index> done;
      Index count = 0;
      const EvaluationWatch watch = [&](Index some, Index all) {
        done.push_back(some);
        count = all;
      };
      const ZooScore score =
          validation ? data->validation(density, watch) : data->test(density, watch);
      EXPECT_EQ(count, score.count) << target;
      ASSERT_GT(done.size(), 1u) << target;
      EXPECT_EQ(done.front(), 1000) << target;
      EXPECT_EQ(done.back(), count) << target;
    }
  }
}

TEST(ZooData, LabelsAreGivenAndHaveTheirEntropy) {
  ZooConfig config = config_of("neural_spline_coupling", "8gaussians");
  config.context = "label";
  const auto data = load_zoo_data(config);
  ASSERT_EQ(data->contexts(), 8);
  EXPECT_NEAR(*data->bound(), 0.7587, 1e-4);
  const Tensor contexts = data->draw_contexts(400, Random(1));
  for (int label = 0; label < 8; ++label) {
    double count = 0;
    for (Index i = 0; i < 400; ++i) count += contexts[8 * i + label];
    EXPECT_NEAR(count, 50, 30) << label;
  }
  const ZooDensity density(config, 2, 8);
  const ZooScore score = data->validation(density);
  EXPECT_GT(score.kl, 0.2);  // a flow that has learned nothing
}

TEST(ZooData, ALabelThatIsNotThereIsRefused) {
  const auto message = [](const std::string& target, const std::string& context,
                          const std::string& flow = "maf") {
    ZooConfig config = config_of(flow, target);
    config.context = context;
    return message_of([&] { load_zoo_data(config); });
  };
  expect_message(message("swissroll", "label"), "[context]", "swissroll has no labels", "moons");
  expect_message(message("moons", "x"), "[context]", "expected 'label'", "'x'");
  expect_message(message("moons", "label", "integer_discrete_flow"), "[context]", "rounded");
}

TEST(RoundedTarget, ItsCellsSumToOneAndTheEntropyIsThatOfItsSamples) {
  for (const char* name : {"8gaussians", "checkerboard"}) {
    const Target& target = targets()[name];
    const RoundedTarget grid(target, 0.125);
    EXPECT_NEAR(grid.mass(), 1, 1e-5) << name;
    const Tensor x = rounded(target.sample(4'000, Random(3)), 0.125);
    double sum = 0, squares = 0;
    for (const Real value : grid.log_prob(x).values()) {
      sum -= value;
      squares += value * value;
    }
    const double n = 4'000, mean = sum / n;
    EXPECT_NEAR(mean, grid.entropy(), 4 * std::sqrt((squares / n - mean * mean) / n) + 1e-5);
    // Within a cell the density hardly changes: the entropy of a fine grid.
    EXPECT_NEAR(grid.entropy(), target.entropy - 2 * std::log(0.125), 0.1) << name;
  }
}

TEST(RoundedTarget, ACellFarOutsideHasItsProbability) {
  const RoundedTarget grid(targets()["8gaussians"], 0.125);
  const Tensor far = grid.log_prob(Tensor({1, 2}, {9, 0}));
  const double distance = (9 - 4 / 1.414) / (0.5 / 1.414);
  const double expected = -std::log(8 * 2 * 3.14159265 * 0.125) - 0.5 * distance * distance;
  EXPECT_NEAR(far[0] / expected, 1, 0.05);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

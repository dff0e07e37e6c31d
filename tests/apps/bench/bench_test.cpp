#include "backflow/apps/bench/bench.h"

#include <algorithm>
#include <tuple>

#include "backflow/apps/model/datasets.h"
#include "backflow/ops/linalg.h"
#include "backflow/tests/apps/model/small_model.h"
#include "backflow/tests/factorizations.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Config bench_config(const std::string& layer) {
  Config config = small_config(layer);
  config.batch_size = 8;
  return config;
}

TEST(Bench, TimesEveryStepAndTheFloor) {
  for (const std::string& layer : small_layers)
    for (const Index steps : {1, 2, 5}) {
      const BenchReport report = bench(bench_config(layer), small_image, steps);
      ASSERT_EQ(static_cast<Index>(report.step_ms.size()), steps);
      EXPECT_TRUE(std::is_sorted(report.step_ms.begin(), report.step_ms.end()));
      EXPECT_EQ(report.median_ms(), report.step_ms[steps / 2]);
      EXPECT_GT(report.step_ms[0], 0);
      EXPECT_GT(report.product_ms, 0);
      EXPECT_GT(report.optimizer_ms, 0);
      EXPECT_EQ(report.floor_ms(), report.product_ms + report.optimizer_ms);
    }
}

TEST(Bench, CountsTheMemoryOfAStep) {
  const Config config = bench_config("self_normalizing");
  const Index parameters = Model(config, small_image).parameter_count();
  const BenchReport report = bench(config, small_image, 3);
  EXPECT_GE(report.peak_bytes, 4 * parameters * static_cast<Index>(sizeof(Real)));  // p, m, v, g
  EXPECT_EQ(bench(config, small_image, 30).peak_bytes, report.peak_bytes);
}

TEST(Bench, TakesRealTrainingSteps) {
  for (const std::string& layer : small_layers) {
    const Index before = factorizations();
    bench(bench_config(layer), small_image, 4);
    const Index uncounted = 3, matrices = 2;
    EXPECT_EQ(factorizations() - before, layer == "exact" ? (uncounted + 4) * matrices : 0)
        << layer;
  }
}

TEST(Bench, ProfilesAllOfAStep) {
  Config config = small_config("self_normalizing");
  config.batch_size = 1000;
  const BenchReport report = bench(config, small_image, 20, true);
  const double measured = report.mean_ms() * 20;
  EXPECT_NEAR(1000 * report.profile.seconds(), measured, 0.05 * measured);
  EXPECT_TRUE(bench(config, small_image, 1).profile.costs.empty()) << "only when asked for";
}

TEST(Bench, CountsTheProductsOfATrainingStep) {
  const double d = small_size, product = 2 * 10 * d * d;
  const auto flop = [](const std::string& layer) {
    return necessary_products(small_config(layer), small_image).flop(10);
  };
  EXPECT_EQ(flop("self_normalizing"), 2 * 6 * product);
  EXPECT_EQ(flop("relative_gradient"), 2 * 4 * product);
  EXPECT_EQ(flop("exact"), 2 * (3 * product + 2 * d * d * d));
}

// Flop for an example, and for a step beside.
TEST(Bench, CountsTheProductsOfThePapersModels) {
  const std::vector<std::tuple<const char*, double, double>> papers = {
      {"relative_gradient_fc_mnist", 9'834'496, 0},
      {"exact_fc_mnist", 7'375'872, 1'927'561'216},
      {"selfnorm_fc_mnist", 14'751'744, 0},
      {"emerging_cnn_mnist", 2'667'168, 0},
      {"selfnorm_cnn_mnist", 5'334'336, 0},
      {"exponential_cnn_mnist", 16'299'360, 0},
      {"exact_cnn_mnist", 2'667'168, 0},
      {"conv1x1_glow_mnist", 7'287'361'536, 0},
      {"selfnorm_glow_mnist", 7'287'963'648, 0},
      {"geco_selfnorm_glow_mnist", 16'445'184, 0},
      {"conv1x1_glow_cifar", 24'761'597'952, 0},
      {"selfnorm_glow_cifar", 24'782'831'616, 0},
      {"conv1x1_glow_imagenet", 36'795'187'200, 0},
      {"selfnorm_glow_imagenet", 36'827'037'696, 0},
      {"nice_mnist", 114'816'000, 0},
      {"realnvp_mnist", 67'584'000, 0},
      {"maf_mnist", 51'855'360, 0},  // half of its weights are masked
  };
  for (const auto& [name, per_example, per_step] : papers) {
    const Config& config = find_experiment(name).config;
    const NecessaryProducts found = necessary_products(config, datasets()[config.dataset].shape);
    EXPECT_EQ(found.flop_per_example, per_example) << name;
    EXPECT_EQ(found.flop_per_step, per_step) << name;
  }
}

TEST(Bench, SamplesByEachInverse) {
  for (const std::string& layer : small_layers) {
    Index learned = 0, exact = 0;
    for (const SamplingTime& time : bench_sampling(bench_config(layer), small_image)) {
      ++(time.inverse == Inverse::learned ? learned : exact);
      EXPECT_TRUE(time.count == 1 || time.count == 100);
      EXPECT_GT(time.ms, 0);
    }
    EXPECT_EQ(exact, 2) << layer;
    EXPECT_EQ(learned, layer == "self_normalizing" ? 2 : 0) << layer;
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

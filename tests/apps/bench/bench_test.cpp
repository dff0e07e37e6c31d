#include "backflow/apps/bench/bench.h"

#include <algorithm>

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
  for (const std::string& layer : layers)
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
  for (const std::string& layer : layers) {
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

TEST(Bench, SamplesByEachInverse) {
  for (const std::string& layer : layers) {
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

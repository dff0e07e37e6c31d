#include "backflow/apps/bench/step_costs.h"

#include <cmath>

#include "backflow/apps/bench/bench.h"
#include "backflow/tests/apps/model/small_model.h"
#include "backflow/tests/apps/model/tiny_experiment.h"
#include "backflow/tests/factorizations.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr TimingBudget one_step{.warm_up = 0, .least = 1, .most = 1};

Config named(const std::string& experiment) { return find_experiment(experiment).config; }

StepCosts quick_costs(const Config& config, const ImageShape& image,
                      const std::vector<Index>& sizes) {
  StepTimer timer(config, image, sizes);
  timer.round({.warm_up = 1, .least = 2, .most = 2});
  return timer.costs();
}

TEST(StepTimer, TimesShardsOfEverySizeAndWhatTheyShareForEveryExperiment) {
  for_each_experiment([](const Tiny& tiny) {
    const StepCosts costs = quick_costs(tiny.config, tiny.image, {4, 2, 1});
    ASSERT_EQ(costs.shard_ms.size(), 3u);
    for (const auto& [images, ms] : costs.shard_ms)
      EXPECT_TRUE(ms > 0 && std::isfinite(ms)) << images << " " << ms;
    EXPECT_TRUE(costs.once_ms > 0 && std::isfinite(costs.once_ms)) << costs.once_ms;
    EXPECT_TRUE(costs.sum_ms > 0 && std::isfinite(costs.sum_ms)) << costs.sum_ms;
    EXPECT_EQ(costs.batch_size, tiny.config.batch_size);
  });
}

TEST(StepTimer, CountsTheBytesOfTheGradient) {
  const StepCosts costs = quick_costs(small_config(), small_image, {2});
  const Index per_layer = 2 * small_size * small_size + small_size;  // W, R and b
  EXPECT_EQ(costs.gradient_bytes, 2 * per_layer * static_cast<Index>(sizeof(Real)));
}

TEST(StepTimer, TakesWholeStepsThatFactorizeOnce) {
  StepTimer timer(small_config("exact"), small_image, {4, 2, 1});
  const Index sizes = 3, matrices = 2;
  EXPECT_EQ(factorizations_of([&] { timer.round(one_step); }), sizes * matrices);
}

// Two of 784 x 784, for which there is no fewer to do when a shard is of one image.
TEST(StepTimer, FactorizationsAreDoneOnceWhateverTheShards) {
  const StepCosts costs = quick_costs(named("exact_fc_mnist"), ImageShape{1, 28, 28}, {1});
  EXPECT_GT(costs.once_ms, costs.shard_ms.at(1));
}

TEST(StepTimer, LargerShardsTakeLonger) {
  const StepCosts costs = quick_costs(named("selfnorm_cnn_mnist"), ImageShape{1, 28, 28}, {64, 1});
  EXPECT_GT(costs.shard_ms.at(64), 2 * costs.shard_ms.at(1));
}

TEST(StepTimer, TheOptimizerCountsToWhatIsDoneOnce) {
  Config config = named("selfnorm_fc_mnist");  // of 2.5 million parameters
  config.batch_size = 1;
  const ImageShape image{1, 28, 28};
  const double optimizer_ms = bench(config, image, 3).optimizer_ms;
  EXPECT_GT(quick_costs(config, image, {1}).once_ms, optimizer_ms / 2);
}

TEST(StepTimer, AnotherRoundCanOnlyLowerATime) {
  StepTimer timer(small_config(), small_image, {2});
  timer.round({.warm_up = 9, .least = 99, .most = 99});
  const StepCosts before = timer.costs();
  timer.round(one_step);  // which has no buffers yet
  const StepCosts after = timer.costs();
  EXPECT_LE(after.shard_ms.at(2), before.shard_ms.at(2));
  EXPECT_LE(after.once_ms, before.once_ms);
  EXPECT_LE(after.sum_ms, before.sum_ms);
}

// Or they would need less memory.
TEST(StepTimer, ShardsOfTheConfigurationAreNotCutAgain) {
  const auto peak_bytes = [](Index shards) {
    Config config = named("selfnorm_cnn_mnist");
    config.shards = shards;
    StepTimer timer(config, {1, 28, 28}, {16});
    reset_peak_bytes();
    timer.round(one_step);
    return memory_use().peak_bytes;
  };
  EXPECT_EQ(peak_bytes(16), peak_bytes(1));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

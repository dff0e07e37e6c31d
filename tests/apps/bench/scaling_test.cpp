#include "backflow/apps/bench/scaling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "backflow/apps/model/config.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr Interconnect perfect{infinity, 0};

// Steps whose shards take `ms` of their images, and nothing else any time.
template <class Time>
StepCosts costs_of(Index batch_size, const Time& ms, Index shards = 0) {
  StepCosts costs{batch_size, {}, 0, 0, 1'000'000};
  for (const Index images : shard_sizes(batch_size, shards))
    costs.shard_ms[images] = ms(static_cast<double>(images));
  return costs;
}

StepCosts linear_costs(Index batch_size) {
  return costs_of(batch_size, [](double images) { return 0.5 * images; });
}

// As they might be measured: with something of everything.
StepCosts real_costs(Index batch_size) {
  StepCosts costs = costs_of(batch_size, [](double images) { return 0.2 + 0.05 * images; });
  costs.once_ms = 0.3;
  costs.sum_ms = 0.04;
  return costs;
}

TEST(RankCounts, ArePowersOfTwoUpToTheMostOrTheShards) {
  using Counts = std::vector<Index>;
  EXPECT_EQ(rank_counts(1), Counts{1});
  EXPECT_EQ(rank_counts(8), (Counts{1, 2, 4, 8}));
  EXPECT_EQ(rank_counts(15), (Counts{1, 2, 4, 8}));
  EXPECT_EQ(rank_counts(1024).size(), 11u);
  EXPECT_EQ(rank_counts(1024, 4), (Counts{1, 2, 4}));
  EXPECT_EQ(rank_counts(2, 4), (Counts{1, 2}));
}

TEST(ShardCounts, ArePowersOfTwoFromTheRanksToTheBatch) {
  using Counts = std::vector<Index>;
  EXPECT_EQ(shard_counts(8, 1), (Counts{1, 2, 4, 8}));
  EXPECT_EQ(shard_counts(15, 2), (Counts{2, 4, 8}));
  EXPECT_EQ(shard_counts(3, 8), Counts{8}) << "more ranks than images";
  EXPECT_EQ(shard_counts(1'000'000, 2048), (Counts{2048, 4096}));
}

TEST(ShardCounts, AreThoseThatAConfigurationMayHave) {
  Config config;
  config.batch_size = 4 * most_shards;
  config.shards = shard_counts(config.batch_size, 1).back();
  EXPECT_NO_THROW(validate(config));
  config.shards *= 2;
  EXPECT_THROW(validate(config), Error);
}

TEST(ShardSizes, AreAllThatAnyShardHas) {
  using Sizes = std::vector<Index>;
  EXPECT_EQ(shard_sizes(100), (Sizes{100, 50, 25, 13, 12, 7, 6, 4, 3, 2, 1}));
  EXPECT_EQ(shard_sizes(100, 8), (Sizes{13, 12}));
  EXPECT_EQ(shard_sizes(96, 8), Sizes{12});
  EXPECT_EQ(shard_sizes(3, 4), Sizes{1}) << "an empty shard takes no time";
  for (Index batch_size = 1; batch_size < 140; ++batch_size)
    EXPECT_NO_THROW(predict_scaling(linear_costs(batch_size), perfect, 512)) << batch_size;
}

TEST(PredictedScaling, WithoutFixedCostsAndOnAPerfectNetworkEfficiencyIsOne) {
  const std::vector<ScalingRow> rows = predict_scaling(linear_costs(1024), perfect, 1024);
  ASSERT_EQ(rows.size(), 11u);
  for (const ScalingRow& row : rows) {
    EXPECT_NEAR(row.efficiency, 1, 1e-12) << row.ranks;
    EXPECT_NEAR(row.speed_up, static_cast<double>(row.ranks), 1e-9);
  }
}

TEST(PredictedScaling, WhatIsDoneOncePerStepBoundsItByAmdahlsLaw) {
  StepCosts costs = linear_costs(1024);
  costs.once_ms = 8;
  const double parallel = 512;
  for (const ScalingRow& row : predict_scaling(costs, perfect, 1024)) {
    const double R = static_cast<double>(row.ranks);
    EXPECT_NEAR(row.speed_up, (8 + parallel) / (8 + parallel / R), 1e-9) << R;
    EXPECT_EQ(row.step.once, 8);
  }
}

TEST(PredictedScaling, OneRankTakesWhatItTakesAloneWhateverTheNetwork) {
  const StepCosts costs = real_costs(64);
  for (const Interconnect& any : {Interconnect{1, 50}, Interconnect{0.001, 1e6}, perfect}) {
    const ScalingRow row = predict_scaling(costs, any, 1)[0];
    EXPECT_EQ(row.step.exchange, 0);
    EXPECT_EQ(row.step.latency, 0);
    EXPECT_EQ(row.step.sums, 0);
    EXPECT_EQ(row.step.total(), costs.once_ms + costs.shard_ms.at(64));
    EXPECT_EQ(row.speed_up, 1);
  }
}

TEST(PredictedScaling, RanksSendUpToTwiceTheGradient) {
  const StepCosts costs = real_costs(1024);  // with a gradient of 1 MB: 8 ms at 1 Gbit/s
  const auto exchange = [&](Index ranks, double gbits) {
    return predict_step(costs, {gbits, 0}, ranks, ranks).exchange;
  };
  EXPECT_NEAR(exchange(2, 1), 8, 1e-12);
  EXPECT_NEAR(exchange(4, 1), 12, 1e-12);
  EXPECT_NEAR(exchange(1024, 1), 16 * 1023.0 / 1024, 1e-12);
  EXPECT_NEAR(exchange(4, 100), 0.12, 1e-12);
}

TEST(PredictedScaling, AMessageWaitsForTheOneBefore) {
  const StepCosts costs = real_costs(1024);
  for (const Index ranks : {1, 2, 8, 1024}) {
    const PredictedStep step = predict_step(costs, {infinity, 50}, ranks, 1024);
    EXPECT_NEAR(step.latency, 2 * std::log2(ranks) * 0.050, 1e-12) << ranks;
    EXPECT_EQ(step.exchange, 0);
  }
}

TEST(PredictedScaling, GradientsOfOwnShardsAreAddedWholeAndThoseOfOthersInParts) {
  StepCosts costs = linear_costs(64);
  costs.sum_ms = 1;
  const auto sums = [&](Index ranks, Index shards) {
    return predict_step(costs, perfect, ranks, shards).sums;
  };
  EXPECT_EQ(sums(1, 1), 0);
  EXPECT_EQ(sums(1, 8), 7);
  EXPECT_EQ(sums(4, 8), 1 + 0.75);
  EXPECT_EQ(sums(8, 8), 0.875);
}

TEST(PredictedScaling, ABetterNetworkIsNeverSlower) {
  const StepCosts costs = real_costs(300);
  const std::vector<Interconnect> from_the_worst = {{1, 50}, {1, 20}, {10, 20}, {10, 2}, {100, 2}};
  for (std::size_t i = 1; i < from_the_worst.size(); ++i) {
    const auto worse = predict_scaling(costs, from_the_worst[i - 1], 1024);
    const auto better = predict_scaling(costs, from_the_worst[i], 1024);
    for (std::size_t row = 1; row < better.size(); ++row) {
      EXPECT_LT(better[row].step.total(), worse[row].step.total()) << better[row].ranks;
      EXPECT_GT(better[row].speed_up, worse[row].speed_up);
    }
  }
}

TEST(PredictedScaling, OnAPerfectNetworkMoreRanksAreNeverSlower) {
  StepCosts costs = real_costs(1000);
  costs.sum_ms = 0;
  const std::vector<ScalingRow> rows = predict_scaling(costs, perfect, 1024);
  for (std::size_t i = 1; i < rows.size(); ++i)
    EXPECT_LE(rows[i].step.total(), rows[i - 1].step.total()) << rows[i].ranks;
}

TEST(PredictedScaling, TheBestShardsAreAPowerOfTwoThatTheRanksCanShare) {
  for (const Index batch_size : {1, 2, 3, 64, 100, 1000})
    for (const ScalingRow& row : predict_scaling(real_costs(batch_size), {10, 20}, 1024)) {
      EXPECT_GE(row.shards, row.ranks);
      EXPECT_TRUE(std::has_single_bit(static_cast<std::uint64_t>(row.shards)));
      EXPECT_LE(row.shards, std::max(row.ranks, batch_size)) << row.ranks;
    }
}

TEST(PredictedScaling, NoOtherNumberOfShardsIsBetter) {
  // Shards of 16 images are the best: larger ones leave the cache, smaller ones have fixed costs.
  const StepCosts costs = costs_of(256, [](double n) { return n + 0.05 * n * n + 10; });
  for (const ScalingRow& row : predict_scaling(costs, {1, 50}, 256)) {
    EXPECT_EQ(row.shards, std::max<Index>(row.ranks, 16)) << row.ranks;
    for (const Index shards : shard_counts(256, row.ranks))
      EXPECT_LE(row.step.total(), predict_step(costs, {1, 50}, row.ranks, shards).total());
  }
}

TEST(PredictedScaling, OfShardsThatAreAsGoodTheFewestAreTaken) {
  for (const ScalingRow& row : predict_scaling(linear_costs(256), perfect, 256))
    EXPECT_EQ(row.shards, row.ranks);
}

TEST(PredictedScaling, TheRankWithMostImagesCounts) {
  const StepCosts costs = linear_costs(5);  // four shards of 1, 1, 1 and 2 images
  EXPECT_EQ(predict_step(costs, perfect, 1, 4).compute, 0.5 * 5);
  EXPECT_EQ(predict_step(costs, perfect, 2, 4).compute, 0.5 * 3);
  EXPECT_EQ(predict_step(costs, perfect, 4, 4).compute, 0.5 * 2);
}

TEST(PredictedScaling, EmptyShardsTakeNoTimeAndTheirRanksHelpNobody) {
  StepCosts costs = linear_costs(3);
  costs.sum_ms = 1;
  const PredictedStep alone = predict_step(costs, perfect, 1, 4);
  EXPECT_EQ(alone.compute, 0.5 * 3);
  EXPECT_EQ(alone.sums, 2) << "an empty shard has no gradient to be added";
  costs.sum_ms = 0;
  const std::vector<ScalingRow> rows = predict_scaling(costs, perfect, 16);
  const std::vector<Index> empty = {0, 0, 1, 5, 13};
  const std::vector<double> speed_ups = {1, 1.5, 3, 3, 3};
  ASSERT_EQ(rows.size(), 5u);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i].empty_shards, empty[i]);
    EXPECT_NEAR(rows[i].speed_up, speed_ups[i], 1e-12);
    EXPECT_NEAR(rows[i].efficiency, speed_ups[i] / static_cast<double>(rows[i].ranks), 1e-12);
  }
}

TEST(PredictedScaling, WithGivenShardsNoOthersAreTriedOrNeeded) {
  const StepCosts costs = costs_of(
      100, [](double n) { return n * n; }, 8);
  const std::vector<ScalingRow> rows = predict_scaling(costs, {1, 50}, 1024, 8);
  ASSERT_EQ(rows.size(), 4u);
  for (const ScalingRow& row : rows) EXPECT_EQ(row.shards, 8);
  EXPECT_EQ(rows.front().speed_up, 1);
  EXPECT_EQ(rows.back().ranks, 8);
}

TEST(PredictedScaling, WhatCannotBePredictedIsRefused) {
  StepCosts costs = linear_costs(100);
  EXPECT_THROW(predict_step(costs, perfect, 0, 1), Error);
  EXPECT_THROW(predict_step(costs, perfect, 4, 2), Error);
  EXPECT_THROW(predict_step(linear_costs(3), perfect, 2, 3), Error);
  costs.shard_ms.erase(13);
  EXPECT_THROW(predict_step(costs, perfect, 2, 8), Error);
  EXPECT_NO_THROW(predict_step(costs, perfect, 2, 4));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

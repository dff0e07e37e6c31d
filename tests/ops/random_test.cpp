#include "backflow/ops/random.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "backflow/engine/parallel.h"
#include "backflow/ops/finite.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

double mean_power(const Tensor& x, double center, int power) {
  double sum = 0;
  for (Index i = 0; i < x.size(); ++i) sum += std::pow(x[i] - center, power);
  return sum / static_cast<double>(x.size());
}

// The known answers that Random123 ships with (kat_vectors, philox4x32 10).
TEST(Philox, GivesTheKnownAnswers) {
  EXPECT_EQ(philox({0, 0, 0, 0}, {0, 0}),
            (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  const std::uint32_t ff = 0xffffffff;
  EXPECT_EQ(philox({ff, ff, ff, ff}, {ff, ff}),
            (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Random, UniformIsOnTheHalfOpenUnitInterval) {
  const Tensor u = Random(1).uniform({1000, 1000});
  const auto [low, high] = std::minmax_element(u.data(), u.data() + u.size());
  EXPECT_GE(*low, 0);
  EXPECT_LT(*high, 1);
  EXPECT_LT(*low, 1e-5);
  EXPECT_GT(*high, 1 - 1e-5);
}

// Tolerances are five standard deviations of the estimate for 10^6 numbers.
TEST(Random, UniformHasTheRightMoments) {
  const Tensor u = Random(2).uniform({1000, 1000});
  EXPECT_NEAR(mean_power(u, 0, 1), 0.5, 5 * std::sqrt(1 / 12e6));
  EXPECT_NEAR(mean_power(u, 0.5, 2), 1.0 / 12, 5 * std::sqrt(1 / 180e6));
  EXPECT_NEAR(mean_power(u, 0.5, 3), 0, 5 * std::sqrt(1 / 448e6));
}

TEST(Random, NormalHasTheRightMoments) {
  const Tensor z = Random(3).normal({1000, 1000});
  EXPECT_NEAR(mean_power(z, 0, 1), 0, 5e-3);
  EXPECT_NEAR(mean_power(z, 0, 2), 1, 5e-3 * std::sqrt(2.0));
  EXPECT_NEAR(mean_power(z, 0, 3), 0, 5e-3 * std::sqrt(15.0));
  EXPECT_NEAR(mean_power(z, 0, 4), 3, 5e-3 * std::sqrt(96.0));
  EXPECT_TRUE(all_finite(z));
}

TEST(Random, StreamsHaveNumbersOfTheirOwn) {
  const Index n = 1000;
  const Random random(5, Purpose::testing, 2);
  std::vector<Tensor> all{random.normal({1, n})};
  for (const std::uint32_t k : {0u, 1u, 2u, ~0u}) {
    all.push_back(random.stream(k).normal({1, n}));
    all.push_back(random.stream(1).stream(k).normal({1, n}));
    all.push_back(Random(6, Purpose::testing, 2).stream(k).normal({1, n}));
    all.push_back(Random(5, Purpose::testing, 3).stream(k).normal({1, n}));
    EXPECT_EQ(random.stream(k).normal({1, n}).values(), random.stream(k).normal({1, n}).values());
    EXPECT_EQ(random.at_epoch(3).stream(k).normal({1, n}).values(),
              random.stream(k).at_epoch(3).normal({1, n}).values());
  }
  for (std::size_t i = 0; i < all.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) {
      double correlation = 0;
      for (Index at = 0; at < n; ++at) correlation += double{all[i][at]} * all[j][at] / n;
      EXPECT_NEAR(correlation, 0, 5 / std::sqrt(n)) << i << " and " << j;
    }
}

TEST(Random, NeighboursAreNotCorrelated) {
  const Index n = 1000;
  const Tensor z = Random(4).normal({n, n});
  for (Index lag : {Index{1}, Index{2}, Index{4}, n}) {
    double sum = 0;
    for (Index i = 0; i + lag < z.size(); ++i) sum += static_cast<double>(z[i]) * z[i + lag];
    EXPECT_NEAR(sum / 1e6, 0, 5e-3) << "lag " << lag;
  }
}

TEST(Random, AnExampleHasTheSameNumbersInAnyBatch) {
  const Random random(5, Purpose{2}, 2);
  const Tensor normal = random.normal({10, 3, 7}), uniform = random.uniform({10, 3, 7});
  for (std::uint32_t first : {0u, 4u, 9u}) {
    const Tensor one_normal = random.normal({1, 3, 7}, first);
    const Tensor one_uniform = random.uniform({1, 3, 7}, first);
    std::vector<Real> filled(21);
    random.normal(first, filled);
    EXPECT_EQ(one_normal.values(), filled);
    for (Index i = 0; i < 21; ++i) {
      EXPECT_EQ(one_normal[i], normal[first * 21 + i]);
      EXPECT_EQ(one_uniform[i], uniform[first * 21 + i]);
    }
  }
}

TEST(Random, ANumberDependsOnItsPositionOnly) {
  std::vector<Real> whole(13), normals(13);
  Random(6).uniform(0, whole);
  Random(6).normal(0, normals);
  for (std::size_t count = 0; count < 13; ++count) {
    std::vector<Real> part(count);
    Random(6).uniform(0, part);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), whole.begin())) << count;
    Random(6).normal(0, part);
    EXPECT_TRUE(std::equal(part.begin(), part.end(), normals.begin())) << count;
  }
}

TEST(Random, GivesTheSameBitsOnAnyNumberOfThreads) {
  const int before = threads();
  set_threads(1);
  const std::vector<Real> expected = Random(7).normal({300, 100}).values();
  for (int count : {2, 3, 16}) {
    set_threads(count);
    EXPECT_EQ(Random(7).normal({300, 100}).values(), expected) << count << " threads";
  }
  set_threads(before);
}

TEST(Random, EverySeedPurposeEpochAndExampleHasItsOwnNumbers) {
  std::set<std::vector<Real>> seen;
  int drawn = 0;
  for (std::uint64_t seed : {0ull, 1ull, 1ull << 32})  // both halves of the seed count
    for (Purpose purpose : {Purpose{0}, Purpose{1}, Purpose{2}, Purpose{3}, Purpose::testing})
      for (std::uint32_t epoch : {0u, 1u, 4000000000u})
        for (std::uint32_t example : {0u, 1u, 4000000000u}) {
          std::vector<Real> numbers(4);
          Random(seed, purpose, epoch).uniform(example, numbers);
          seen.insert(numbers);
          ++drawn;
        }
  EXPECT_EQ(static_cast<int>(seen.size()), drawn);
}

TEST(Random, FillsScalarsAndEmptyTensors) {
  EXPECT_EQ(Random(8).uniform({}).item(), Random(8).uniform({1, 1}).item());
  EXPECT_EQ(Random(8).normal({0, 3}).size(), 0);
  EXPECT_EQ(Random(8).normal({3, 0}).size(), 0);
}

TEST(Random, ExamplesDoNotBeginAgain) {
  const std::uint32_t last = 0xffffffff;
  EXPECT_EQ(Random(8).uniform({1, 3}, last).size(), 3);
  EXPECT_TRUE(error_of([&] { Random(8).uniform({2, 3}, last); }).starts_with("[random] the rows"));
  EXPECT_TRUE(error_of([&] { Random(8).normal({2, 3}, last); }).starts_with("[random] the rows"));
}

TEST(Permutation, HoldsEveryNumberOnce) {
  for (std::uint32_t n : {0u, 1u, 2u, 1000u}) {
    std::vector<std::uint32_t> order = Random(9, Purpose{1}).permutation(n);
    std::sort(order.begin(), order.end());
    ASSERT_EQ(order.size(), n);
    for (std::uint32_t i = 0; i < n; ++i) ASSERT_EQ(order[i], i);
  }
}

TEST(Permutation, IsAFunctionOfSeedAndEpoch) {
  const auto order = [](std::uint64_t seed, std::uint32_t epoch) {
    return Random(seed, Purpose{1}, epoch).permutation(100);
  };
  EXPECT_EQ(order(1, 0), order(1, 0));
  EXPECT_NE(order(1, 0), order(1, 1));
  EXPECT_NE(order(1, 0), order(2, 0));
}

// Runs that were interrupted go on in this order.
TEST(Permutation, IsTheOneThatItHasAlwaysBeen) {
  const Random random(0x123456789abcdef, Purpose{1}, 3);
  EXPECT_EQ(random.permutation(10), (std::vector<std::uint32_t>{5, 8, 6, 4, 2, 3, 0, 7, 1, 9}));
  std::uint64_t hash = 0;
  for (std::uint32_t x : random.permutation(60000)) hash = hash * 6364136223846793005u + x + 1;
  EXPECT_EQ(hash, 4743682632657068708u);
}

TEST(Permutation, AllOrdersAreEquallyLikely) {
  std::map<std::vector<std::uint32_t>, int> counts;
  for (std::uint32_t epoch = 0; epoch < 6000; ++epoch)
    ++counts[Random(10, Purpose{1}, epoch).permutation(3)];
  EXPECT_EQ(counts.size(), 6u);
  for (const auto& [order, count] : counts) EXPECT_NEAR(count, 1000, 5 * std::sqrt(1000 * 5 / 6.0));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

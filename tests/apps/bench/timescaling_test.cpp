#include "backflow/apps/bench/timescaling.h"

#include <gtest/gtest.h>

#include <cmath>

#include "backflow/ops/conv_lu.h"
#include "backflow/ops/linalg.h"
#include "backflow/tests/factorizations.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr ImageShape image{1, 6, 4};

// A curve as it would be measured if steps took so long.
Curve curve(const std::vector<std::pair<Index, double>>& times) {
  Curve points;
  for (const auto& [D, ms] : times)
    points.push_back({LayerKind::fc, Method::exact, {1, D, 1}, {ms, ms + 7}});
  return points;
}

Curve power(const std::vector<Index>& dimensions, double factor, double exponent) {
  std::vector<std::pair<Index, double>> times;
  for (const Index D : dimensions)
    times.emplace_back(D, factor * std::pow(static_cast<double>(D), exponent));
  return curve(times);
}

TEST(TimescalingImages, GoFrom32To4064PixelsInEvenProportions) {
  const std::vector<ImageShape> images = timescaling_images(4064);
  EXPECT_EQ(images.front().size(), 32);
  EXPECT_EQ(images.back().size(), 4064);
  for (std::size_t i = 1; i < images.size(); ++i) {
    const double growth = static_cast<double>(images[i].size()) / images[i - 1].size();
    EXPECT_GT(growth, 1.25);
    EXPECT_LE(growth, 2);
    EXPECT_NEAR(static_cast<double>(images[i].height) / images[i].width, 4, 0.4);
  }
}

TEST(TimescalingImages, EndAtTheLargestDimensionAskedFor) {
  const std::vector<ImageShape> all = timescaling_images(4064);
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(timescaling_images(all[i].size()).size(), i + 1);
    EXPECT_EQ(timescaling_images(all[i].size() - 1).size(), i);
  }
}

TEST(PowerLaw, AnExactOneIsFound) {
  for (const double exponent : {-1.0, 0.0, 1.0, 2.1, 3.0}) {
    const PowerLaw law = fit_power_law(power({512, 800, 1500, 4064}, 0.01, exponent));
    EXPECT_NEAR(law.exponent, exponent, 1e-12);
    EXPECT_EQ(law.from, 512);
  }
}

TEST(PowerLaw, SmallDimensionsCountOnlyWhenTheLargeAreFewerThanThree) {
  const std::vector<std::pair<Index, double>> flat = {{32, 5}, {64, 5}, {511, 5}};
  auto times = flat;
  for (const Index D : {600, 1200}) times.emplace_back(D, 1e-3 * D * D);
  PowerLaw law = fit_power_law(curve(times));
  EXPECT_EQ(law.from, 32);
  EXPECT_LT(law.exponent, 1.9);
  times.emplace_back(2400, 1e-3 * 2400 * 2400);
  law = fit_power_law(curve(times));
  EXPECT_EQ(law.from, 600);
  EXPECT_NEAR(law.exponent, 2, 1e-12);
}

TEST(PowerLaw, TwoPointsAreEnough) {
  EXPECT_NEAR(fit_power_law(curve({{32, 1}, {64, 8}})).exponent, 3, 1e-12);
}

TEST(Crossover, OfPowerLawsIsWhereTheyMeet) {
  const std::vector<Index> dimensions = {32, 100, 300, 1000, 4000};
  const double meet = 200;
  const Curve exact = power(dimensions, std::pow(meet, -3), 3);
  const Curve other = power(dimensions, std::pow(meet, -2), 2);
  const Crossover found = find_crossover(exact, other);
  ASSERT_TRUE(found.D);
  EXPECT_NEAR(*found.D, meet, 1e-9);
  EXPECT_EQ(found.faster, Method::self_normalizing);
  EXPECT_EQ(find_crossover(other, exact).faster, Method::exact);
}

TEST(Crossover, TheLastOfSeveralCounts) {
  const Curve exact = curve({{32, 2}, {64, 1}, {128, 2}, {256, 8}});
  const Curve other = curve({{32, 1}, {64, 2}, {128, 4}, {256, 4}});
  const Crossover found = find_crossover(exact, other);
  ASSERT_TRUE(found.D);
  EXPECT_NEAR(*found.D, 128 * std::sqrt(2), 1e-9);
}

TEST(Crossover, CurvesThatDoNotMeetHaveNone) {
  const Curve slow = power({32, 64, 128}, 2, 1), fast = power({32, 64, 128}, 1, 1);
  EXPECT_FALSE(find_crossover(slow, fast).D);
  EXPECT_EQ(find_crossover(slow, fast).faster, Method::self_normalizing);
  EXPECT_FALSE(find_crossover(fast, slow).D);
  EXPECT_EQ(find_crossover(fast, slow).faster, Method::exact);
}

TEST(LuPrice, IsThatOfTheModelAndGivesItsCrossover) {
  constexpr Index batch = 128;
  for (const double price : {1.0, 2.0, 4.5}) {
    const auto products = [](double D) { return 3 * 2 * batch * D * D; };
    const auto lu = [&](double D) { return price * 2 * D * D * D; };
    const Curve exact = curve({{1000, products(1000) + lu(1000)}});
    const Curve other = curve({{1000, 2 * products(1000)}});
    EXPECT_NEAR(lu_price(exact[0], other[0], batch), price, 1e-12);
    const double D = fc_crossover_at(price, batch);
    EXPECT_NEAR((products(D) + lu(D)) / (2 * products(D)), 1, 1e-12);
  }
}

TEST(TimeLayer, AnExactLayerFactorizesInEveryStep) {
  const TimingBudget budget{.warm_up = 2, .least = 3, .most = 5, .ms = 1e9};
  const auto in_seven_steps = [&](LayerKind kind, Method method) {
    return factorizations_of(
        [&] { EXPECT_EQ(time_layer(kind, method, image, 8, budget).ms.size(), 5u); });
  };
  EXPECT_EQ(in_seven_steps(LayerKind::fc, Method::exact), 7);
  EXPECT_EQ(in_seven_steps(LayerKind::fc, Method::self_normalizing), 0);
  const Index conv = in_seven_steps(LayerKind::conv, Method::exact);
  EXPECT_TRUE(conv > 0 && conv % 7 == 0) << conv;
  EXPECT_EQ(in_seven_steps(LayerKind::conv, Method::self_normalizing), 0);
}

TEST(TimeLayer, StopsAtTheTimeOrTheNumberOfSteps) {
  const auto steps = [](const TimingBudget& budget) {
    return time_layer(LayerKind::fc, Method::self_normalizing, image, 8, budget).ms.size();
  };
  EXPECT_EQ(steps({.warm_up = 1, .least = 3, .most = 9, .ms = 0}), 3u);
  EXPECT_EQ(steps({.warm_up = 1, .least = 3, .most = 9, .ms = 1e9}), 9u);
}

TEST(TimeLayer, TimesArePositiveAndTheLeastIsNoMoreThanTheMedian) {
  for (const LayerKind kind : {LayerKind::fc, LayerKind::conv})
    for (const Method method : {Method::exact, Method::self_normalizing})
      for (const ImageShape& size : timescaling_images(64)) {
        const TimedPoint point = time_layer(kind, method, size, 4, {.most = 9});
        EXPECT_EQ(point.kind, kind);
        EXPECT_EQ(point.method, method);
        EXPECT_EQ(point.D(), size.size());
        EXPECT_GT(point.least(), 0);
        EXPECT_LE(point.least(), point.median());
        EXPECT_LT(point.median(), 10'000);
      }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

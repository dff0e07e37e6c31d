#include "backflow/apps/model/schedules.h"

#include <cmath>

#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Index steps_per_epoch = 4;

// The factors at the first steps of a run of 5 epochs.
std::vector<double> factors(const std::string& schedule, double warmup_epochs, int count,
                            Config config = {}) {
  config.warmup_epochs = warmup_epochs;
  config.epochs = 5;
  std::vector<double> all;
  for (int step = 1; step <= count; ++step)
    all.push_back(schedules()[schedule].factor(config, step, steps_per_epoch));
  return all;
}

using Factors = std::vector<double>;

TEST(Schedules, ConstantHasNoWarmup) { EXPECT_EQ(factors("constant", 2, 3), (Factors{1, 1, 1})); }

TEST(Schedules, TheLastStepOfAWarmupHasTheWholeRate) {
  EXPECT_EQ(factors("linear_warmup", 1, 6), (Factors{0.25, 0.5, 0.75, 1, 1, 1}));
  EXPECT_EQ(factors("linear_warmup", 0.5, 3), (Factors{0.5, 1, 1}));
  EXPECT_EQ(factors("linear_warmup", 0.25, 2), (Factors{1, 1}));
  EXPECT_EQ(factors("linear_warmup", 0, 2), (Factors{1, 1}));
}

TEST(Schedules, ACosineFallsFromTheWarmupToTheLastStep) {
  const std::vector<double> found = factors("cosine", 1, 20);
  EXPECT_EQ(Factors(found.begin(), found.begin() + 4), factors("linear_warmup", 1, 4));
  EXPECT_NEAR(found[4 + 8 - 1], 0.5, 1e-15);  // 8 of the 16 steps after the warm-up
  EXPECT_NEAR(found[4 + 4 - 1], (1 + std::sqrt(0.5)) / 2, 1e-15);
  EXPECT_EQ(found.back(), 0);
  for (std::size_t i = 4; i < found.size(); ++i) EXPECT_LT(found[i], found[i - 1]);
}

TEST(Schedules, ACosineIsLeftOutWhereTheWarmupTakesTheWholeRun) {
  EXPECT_EQ(factors("cosine", 5, 20), factors("linear_warmup", 5, 20));
  EXPECT_EQ(factors("cosine", 9, 20), factors("linear_warmup", 9, 20));
}

TEST(Schedules, StepsFallAfterWholeEpochs) {
  Config config;
  config.lr_decay = 0.5;
  config.lr_decay_epochs = 2;
  EXPECT_EQ(factors("steps", 0, 17, config),
            (Factors{1, 1, 1, 1, 1, 1, 1, 1, .5, .5, .5, .5, .5, .5, .5, .5, .25}));
  EXPECT_EQ(factors("steps", 0.5, 2, config), (Factors{0.5, 1}));
}

TEST(Schedules, OnlyThoseThatKnowTheEndDependOnTheNumberOfEpochs) {
  for (const ScheduleRow& row : schedules().rows()) {
    Config few, many;
    few.warmup_epochs = many.warmup_epochs = 1;
    few.epochs = 2;
    many.epochs = 3;
    bool differ = false;
    for (Index step = 1; step <= 2 * steps_per_epoch; ++step)
      differ |= row.factor(few, step, steps_per_epoch) != row.factor(many, step, steps_per_epoch);
    EXPECT_EQ(differ, row.knows_the_end) << row.name;
  }
}

TEST(Schedules, TheLongestRunsStayWithinNumbers) {
  Config config;
  config.epochs = config.lr_decay_epochs = 1'000'000'000;
  config.warmup_epochs = 0;
  constexpr Index many = 1'000'000'000;
  EXPECT_EQ(schedules()["cosine"].factor(config, many * many, many), 0);
  EXPECT_EQ(schedules()["steps"].factor(config, many * many, many), 1);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

// The training loop with a task that has neither images nor a model: it counts.
#include "backflow/apps/train/loop.h"

#include <array>
#include <chrono>
#include <csignal>
#include <thread>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

class Counting : public Task {
 public:
  std::vector<std::vector<std::uint32_t>> batches;
  std::vector<Index> steps, pictures;
  std::array<double, 4> validation_nlls = {3, 2, 2.5, 1};  // one per evaluation
  std::vector<Position> saved;
  int evaluations = 0, tests = 0, configurations = 0;
  Index fails_at = 0, tells_at = 0;
  // A signal comes after the first of two batches of this evaluation, of validation or of testing.
  std::optional<int> stopped_validation, stopped_test;

  StepResult step(const std::vector<std::uint32_t>& examples, Index, Index step) override {
    if (step == fails_at) throw Diverged("a value is not finite");
    batches.push_back(examples);
    steps.push_back(step);
    return {10, 1};
  }
  std::string news() override { return steps.back() == tells_at ? "what is new\n" : ""; }
  double learning_rate(Index step) const override { return 0.5 / static_cast<double>(step); }
  double validation_nll(const EvaluationWatch& watch) const override {
    evaluate(watch, evaluations == stopped_validation);
    return validation_nlls[const_cast<Counting*>(this)->evaluations++];
  }
  double test_nll(const EvaluationWatch& watch) const override {
    evaluate(watch, tests == stopped_test);
    ++const_cast<Counting*>(this)->tests;
    return 7;
  }
  void save(const std::filesystem::path& checkpoint, const Position& position) override {
    write_file_atomically(checkpoint, "a checkpoint");
    saved.push_back(position);
  }
  void save_configuration(const Position&) override { ++configurations; }
  void draw_pictures(Index epoch, const MetricsTable& metrics, const Draw& draw) override {
    EXPECT_EQ(metrics.rows().back().epoch, epoch);
    draw([] { throw Error("a picture that fails costs a warning"); });
    draw([&] { pictures.push_back(epoch); });
  }
  std::string head() const override { return ""; }
  std::string end(const Position&) const override { return ""; }
  std::string resuming_command() const override { return ""; }
  void show_profile(const Profile&, Index, double) const override {}

 private:
  static void evaluate(const EvaluationWatch& watch, bool stopped) {
    if (stopped) std::raise(SIGTERM);
    watch(1, 2);
    watch(2, 2);
  }
};

const TrainingPlan plan{.name = "counting",
                        .epochs = 4,
                        .steps_per_epoch = 3,
                        .examples = 8,
                        .batch_size = 3,
                        .quiet = true};

int run(Counting& task, const RunDirectory& run, const TrainingStart& start = {}) {
  return run_training(task, plan, run, RunLock::of_existing(run), start);
}

TEST(Loop, MeetsEveryExampleOnceInAnEpoch) {
  const Scratch scratch;
  const RunDirectory directory{scratch / "run"};
  Counting task;
  EXPECT_EQ(run(task, directory), 0);
  ASSERT_EQ(task.batches.size(), 12u);
  EXPECT_EQ(task.steps.front(), 1);
  EXPECT_EQ(task.steps.back(), 12);
  for (int epoch = 0; epoch < 4; ++epoch) {
    std::vector<std::uint32_t> met;
    for (int step = 0; step < 3; ++step) {
      const auto& batch = task.batches[3 * epoch + step];
      EXPECT_EQ(batch.size(), step < 2 ? 3u : 2u);
      met.insert(met.end(), batch.begin(), batch.end());
    }
    std::sort(met.begin(), met.end());
    EXPECT_EQ(met, (std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5, 6, 7})) << "epoch " << epoch;
  }
}

TEST(Loop, ATaskMayKnowItsExamplesItselfAndEndWithAShorterEpoch) {
  const Scratch scratch;
  const RunDirectory directory{scratch / "run"};
  TrainingPlan own = plan;
  own.examples = 0;
  own.last_steps = 1;
  Counting task;
  EXPECT_EQ(run_training(task, own, directory, {}, {}), 0);
  EXPECT_EQ(own.steps(), 10);
  ASSERT_EQ(task.batches.size(), 10u);
  for (const auto& batch : task.batches) EXPECT_TRUE(batch.empty());
  EXPECT_EQ(task.steps.back(), 10);
  EXPECT_EQ(MetricsTable(directory.metrics(), 4).rows().back().train_objective, 10);
}

TEST(Loop, KeepsARowAndACheckpointOfEachEpochAndTestsTheBest) {
  const Scratch scratch;
  const RunDirectory directory{scratch / "run"};
  Counting task;
  run(task, directory);
  EXPECT_EQ(task.configurations, 1);
  EXPECT_EQ(task.tests, 3);  // not after epoch 3
  EXPECT_EQ(task.pictures, (std::vector<Index>{1, 2, 3, 4}));
  const MetricsTable metrics(directory.metrics(), 4);
  ASSERT_EQ(metrics.rows().size(), 4u);
  EXPECT_EQ(metrics.rows()[0].train_objective, 10);
  EXPECT_EQ(metrics.rows()[2].validation_nll, 2.5);
  EXPECT_FALSE(metrics.rows()[2].test_nll);
  EXPECT_EQ(metrics.rows()[3].test_nll, 7);
  EXPECT_NEAR(metrics.rows()[1].learning_rate, 0.5 / 6, 1e-6);
  ASSERT_EQ(task.saved.size(), 1u + 4 + 3);  // at the start, after each epoch, for each best
  EXPECT_EQ(task.saved.back().epoch, 4);
  EXPECT_EQ(task.saved.back().best_epoch, 4);
}

TEST(Loop, GoesOnWithinAnEpochWithTheExamplesThatAreLeft) {
  const Scratch scratch;
  Counting whole, rest;
  run(whole, {scratch / "whole"});
  TrainingStart start;
  start.position.epoch = 1, start.position.batch = 2;
  start.resumed = true;
  rest.validation_nlls = {2, 2.5, 1};
  run(rest, {scratch / "rest"}, start);
  EXPECT_EQ(rest.steps.front(), 6);
  const std::vector<std::vector<std::uint32_t>> left(whole.batches.begin() + 5,
                                                     whole.batches.end());
  EXPECT_EQ(rest.batches, left);
}

TEST(Loop, AnEvaluationThatIsInterruptedIsBegunAnew) {
  for (const bool validation : {true, false}) {
    const Scratch scratch;
    const RunDirectory directory{scratch / "run"};
    Counting first, rest;
    (validation ? first.stopped_validation : first.stopped_test) = 1;
    EXPECT_EQ(run(first, directory), 128 + SIGTERM);
    EXPECT_EQ(first.steps.back(), 6);
    const Position place = first.saved.back();
    EXPECT_EQ(place.epoch, 1);
    EXPECT_EQ(place.batch, 3) << "all steps of the second epoch";
    EXPECT_EQ(place.best_epoch, 1);
    EXPECT_EQ(MetricsTable(directory.metrics(), 4).rows().size(), 1u);

    rest.validation_nlls = {2, 2.5, 1};
    EXPECT_EQ(run(rest, directory, {.position = place, .resumed = true, .unsaved = false}), 0);
    EXPECT_EQ(rest.steps.front(), 7);
    EXPECT_EQ(rest.evaluations, 3);
    const MetricsTable metrics(directory.metrics(), 4);
    ASSERT_EQ(metrics.rows().size(), 4u);
    EXPECT_EQ(metrics.rows()[1].train_objective, 10);
    EXPECT_EQ(metrics.rows()[1].validation_nll, 2);
    EXPECT_EQ(metrics.rows()[1].test_nll, 7);
  }
}

TEST(Loop, TheTimeOfAnInterruptedEvaluationIsNoneOfTheSteps) {
  class Slow : public Counting {
    StepResult step(const std::vector<std::uint32_t>& examples, Index epoch, Index step) override {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
      return Counting::step(examples, epoch, step);
    }
    double validation_nll(const EvaluationWatch& watch) const override {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      return Counting::validation_nll(watch);
    }
  } task;
  task.stopped_validation = 0;
  const Scratch scratch;
  const RunDirectory directory{scratch / "run"};
  run(task, directory);
  const Position place = task.saved.back();
  const std::optional<Elapsed> elapsed = load_elapsed(directory, place.epoch, place.batch);
  ASSERT_TRUE(elapsed);
  EXPECT_GE(elapsed->step_seconds, 0.006);
  EXPECT_GE(elapsed->seconds, elapsed->step_seconds + 0.004);
}

TEST(Loop, ASignalAfterTheLastBatchOfAnEvaluationWaitsForTheEndOfTheEpoch) {
  class Late : public Counting {
    double test_nll(const EvaluationWatch& watch) const override {
      watch(1, 2);
      std::raise(SIGTERM);
      watch(2, 2);
      return 7;
    }
  } task;
  const Scratch scratch;
  const RunDirectory directory{scratch / "run"};
  EXPECT_EQ(run(task, directory), 128 + SIGTERM);
  EXPECT_EQ(task.saved.back().epoch, 1);
  EXPECT_EQ(task.saved.back().batch, 0);
  EXPECT_EQ(MetricsTable(directory.metrics(), 4).rows().size(), 1u);
}

TEST(Loop, SaysWhatAStepGaveRiseTo) {
  const Scratch scratch;
  Counting task;
  task.tells_at = 5;
  TrainingPlan loud = plan;
  loud.quiet = false;
  const RunDirectory directory{scratch / "run"};
  testing::internal::CaptureStdout();
  run_training(task, loud, directory, RunLock::of_existing(directory), {});
  const std::string out = testing::internal::GetCapturedStdout();
  EXPECT_NE(out.find("what is new\n"), out.npos);
  EXPECT_EQ(out.find("what is new\n"), out.rfind("what is new\n")) << "once";
}

TEST(Loop, NamesTheStepThatDiverged) {
  const Scratch scratch;
  Counting task;
  task.fails_at = 5;
  std::string message;
  try {
    run(task, {scratch / "run"});
  } catch (const Diverged& error) {
    message = error.what();
  }
  expect_message(message, "counting diverged in epoch 2, step 2: a value is not finite",
                 "the last good checkpoint is kept");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

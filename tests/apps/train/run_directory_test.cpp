#include "backflow/apps/train/run_directory.h"

#include <chrono>
#include <nlohmann/json.hpp>
#include <thread>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/apps/model/config.h"
#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

namespace fs = std::filesystem;

const std::string header =
    "epoch,train_objective,reconstruction_loss,validation_nll,test_nll,learning_rate,ms_per_step,"
    "seconds\n";

EpochMetrics row(Index epoch, std::optional<double> test_nll = {}) {
  return {epoch, 1234.56789, 0.000123456789, 1000.25, test_nll, 1e-4, 12.3456, 61.239};
}

TEST(RunDirectory, ItsFilesHaveTheirPlaces) {
  const RunDirectory run{"runs/x"};
  EXPECT_EQ(run.config(), "runs/x/config.json");
  EXPECT_EQ(run.metrics(), "runs/x/metrics.csv");
  EXPECT_EQ(run.last(), "runs/x/checkpoints/last.safetensors");
  EXPECT_EQ(run.best(), "runs/x/checkpoints/best.safetensors");
  EXPECT_EQ(run.samples(7), "runs/x/samples/epoch_007.png");
  EXPECT_EQ(run.samples(6000), "runs/x/samples/epoch_6000.png");
}

TEST(RunDirectory, IsMadeWithItsParents) {
  const Scratch scratch;
  const RunDirectory run{scratch / "a/b"};
  run.prepare();
  EXPECT_TRUE(fs::is_directory(scratch / "a/b/checkpoints"));
  EXPECT_TRUE(fs::is_directory(scratch / "a/b/samples"));
}

TEST(RunDirectory, LosesWhatAnInterruptedWriteLeftAndNothingElse) {
  const Scratch scratch;
  const RunDirectory run{scratch.dir()};
  run.prepare();
  const std::vector<std::string> leftovers = {"config.json.tmp",
                                              "metrics.csv.tmp1",
                                              "curve.png.tmp",
                                              "checkpoints/last.safetensors.tmp",
                                              "checkpoints/best.safetensors.tmp2",
                                              "samples/epoch_012.png.tmp"};
  const std::vector<std::string> others = {"metrics.csv", "notes.tmp", "my.tmp.txt",
                                           "checkpoints/last.safetensors", "samples/mine.tmp"};
  for (const auto& names : {leftovers, others})
    for (const std::string& name : names) scratch.write(name, "x");
  run.prepare();
  for (const std::string& name : leftovers) EXPECT_FALSE(fs::exists(scratch / name)) << name;
  for (const std::string& name : others) EXPECT_TRUE(fs::exists(scratch / name)) << name;
}

TEST(RunDirectory, AFileInTheWayIsNamed) {
  const Scratch scratch;
  const RunDirectory run{scratch.write("run", "a file")};
  expect_message(message_of([&] { run.prepare(); }), (scratch / "run").string(),
                 "cannot make the run directory", "choose another with --out");
  EXPECT_EQ(read_file(scratch / "run"), "a file");
}

TEST(SavedConfig, IsReadBackAndSaysWhereTheDataIs) {
  const Scratch scratch;
  const RunDirectory run{scratch.dir()};
  const Config config{.experiment = "name", .lr = 0.1, .epochs = 3, .seed = 5};
  save_config(run, config, {"some/where", "/home"});
  EXPECT_EQ(to_json(load_config<Config>(run)), to_json(config));
  const auto json = nlohmann::ordered_json::parse(read_file(run.config()));
  EXPECT_EQ(json.at("data"), "some/where");
  EXPECT_EQ(load_notes(run).data, "some/where");
  EXPECT_EQ(load_notes(run).directory, "/home");
  EXPECT_EQ(load_notes(run).learning_rates, "");
}

TEST(SavedConfig, MissingOrDamagedIsNamed) {
  const Scratch scratch;
  const RunDirectory run{scratch.dir()};
  const auto message = [&] { return message_of([&] { load_config<Config>(run); }); };
  expect_message(message(), run.config().string(), "No such file");
  for (const std::string bad : {"", "{", "3", "[]"}) {
    scratch.write("config.json", bad);
    expect_message(message(), run.config().string(), "the configuration is damaged",
                   "not a JSON object");
  }
  scratch.write("config.json", R"({"epochs": "many"})");
  expect_message(message(), run.config().string(), "[epochs] expected a whole number");
}

TEST(SavedConfig, TheDataAreFoundFromAnotherDirectory) {
  const Scratch scratch;
  fs::create_directories(scratch / "there/some_images");
  EXPECT_EQ(data_of({"some_images", scratch / "there"}), scratch / "there/some_images");
  EXPECT_EQ(data_of({scratch / "there/some_images", "/"}), scratch / "there/some_images");
  EXPECT_EQ(data_of({"some_images", scratch / "elsewhere"}), std::nullopt);
  EXPECT_EQ(data_of({"", scratch / "there"}), std::nullopt);
}

TEST(Elapsed, IsThatOfTheSameStepsOnly) {
  const Scratch scratch;
  const RunDirectory run{scratch.dir()};
  EXPECT_FALSE(load_elapsed(run, 3, 7));
  save_elapsed(run, 3, 7, {12.5, 10});
  ASSERT_TRUE(load_elapsed(run, 3, 7));
  EXPECT_EQ(load_elapsed(run, 3, 7)->seconds, 12.5);
  EXPECT_EQ(load_elapsed(run, 3, 7)->step_seconds, 10);
  EXPECT_FALSE(load_elapsed(run, 3, 8));
  EXPECT_FALSE(load_elapsed(run, 4, 7));
  for (const std::string bad : {"", "{", R"({"epoch": 3, "batch": 7})",
                                R"({"epoch": 3, "batch": 7, "seconds": -1, "step_seconds": 1})"}) {
    scratch.write("elapsed.json", bad);
    EXPECT_FALSE(load_elapsed(run, 3, 7)) << bad;
  }
}

TEST(RunLock, IsHeldByOneAndNamesItsProcess) {
  const Scratch scratch;
  const RunDirectory run{scratch.dir()};
  EXPECT_FALSE(RunLock::of_existing(run));
  EXPECT_EQ(scratch.files(), 0);
  {
    RunLock lock = RunLock::make(run);
    expect_message(message_of([&] { RunLock::of_existing(run); }), scratch.dir().string(),
                   "another process is training here", "--out");
    lock.begin();
    for (int way = 0; way < 2; ++way)
      expect_message(message_of([&] {
                       way == 0 ? (void)RunLock::make(run) : (void)RunLock::of_existing(run);
                     }),
                     "process " + std::to_string(getpid()) + " is training here");
  }
  EXPECT_EQ(scratch.files(), 0);
  scratch.write("lock", "1\n");  // as a process leaves it that is killed
  EXPECT_TRUE(RunLock::of_existing(run));
  EXPECT_EQ(read_file(run.lock()), "1\n");
}

// A run that was killed may hold it a moment longer than its end is known.
TEST(RunLock, IsWaitedForAMoment) {
  const Scratch scratch;
  const RunDirectory run{scratch.dir()};
  std::optional<RunLock> held = RunLock::make(run);
  std::thread ends([&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    held.reset();
  });
  EXPECT_EQ(message_of([&] { RunLock::make(run); }), "");
  ends.join();
}

TEST(MetricsTable, HasOneRowPerEpochUnderItsHeader) {
  const Scratch scratch;
  MetricsTable table(scratch / "metrics.csv", 0);
  EXPECT_EQ(scratch.files(), 0);
  table.append(row(1, 990.125));
  const std::string first = "1,1234.5679,0.000123457,1000.2500,990.1250,0.0001,12.346,61.24\n";
  EXPECT_EQ(read_file(scratch / "metrics.csv"), header + first);
  table.append(row(2));
  EXPECT_EQ(read_file(scratch / "metrics.csv"),
            header + first + "2,1234.5679,0.000123457,1000.2500,,0.0001,12.346,61.24\n");
}

TEST(MetricsTable, RowsNewerThanTheCheckpointAreDropped) {
  const Scratch scratch;
  const std::string rest = ",1,2,3,,5,6,7\n";
  const std::string old = header + "1" + rest + "2" + rest + "3" + rest + "10" + rest;
  const auto after_epoch = [&](Index epoch) {
    scratch.write("metrics.csv", old);
    MetricsTable table(scratch / "metrics.csv", epoch);
    EXPECT_EQ(read_file(scratch / "metrics.csv"), old);
    table.append(row(epoch + 1));
    const std::string text = read_file(scratch / "metrics.csv");
    const std::string added = std::to_string(epoch + 1) + ",1234.5679";
    EXPECT_NE(text.find("\n" + added), text.npos);
    return text.substr(0, text.find(added));
  };
  EXPECT_EQ(after_epoch(0), header);
  EXPECT_EQ(after_epoch(1), header + "1" + rest);
  EXPECT_EQ(after_epoch(2), header + "1" + rest + "2" + rest);
  EXPECT_EQ(after_epoch(10), old);
}

TEST(MetricsTable, HalfARowIsDropped) {
  const Scratch scratch;
  for (const std::string half :
       {"2", "2,1234.5", "2,1234.5679,0.000123457,1000.2500,,0.0001,1,61"}) {
    scratch.write("metrics.csv", header + "1,1,1,1,1,1,1,1\n" + half);
    MetricsTable(scratch / "metrics.csv", 2).append(row(3));
    const std::string text = read_file(scratch / "metrics.csv");
    EXPECT_TRUE(text.starts_with(header + "1,1,1,1,1,1,1,1\n3,")) << text;
  }
}

TEST(MetricsTable, ALineThatIsNoRowIsNamedByItsNumber) {
  const Scratch scratch;
  const std::string good = "1,1,1,1,1,1,1,1\n";
  const std::vector<std::pair<std::string, std::string>> bad = {
      {"epoch,nll\n", ":1] found \"epoch,nll\", expected the names of the columns"},
      {header + good + "junk\n", ":3] found \"junk\""},
      {header + good + "\n2,1,1,1,1,1,1,1\n", ":3] found \"\""},
      {header + "x,1,1,1,1,1,1,1\n", ":2]"},
      {header + "0,1,1,1,1,1,1,1\n", ":2]"},
      {header + "1,1,1,,1,1,1,1\n", ":2]"},
      {header + "1,1,1,1,1,1,1\n", ":2]"},
      {header + "1,1,1,1,1,1,1,1,1\n", ":2]"},
      {header + "1,1,1,1,1,1,1,1x\n", ":2]"},
      {header + good + good, ":3]"},
      {header + "2,1,1,1,1,1,1,1\n" + good, ":3] found \"1,1,1,1,1,1,1,1\", expected the row of a"},
      {header + "\x1b[2J\n", ":2] found \"\\x1b[2J\""}};
  for (const auto& [text, words] : bad) {
    const auto path = scratch.write("metrics.csv", text);
    expect_message(message_of([&] { MetricsTable(path, 5); }), path.string() + words);
    EXPECT_EQ(read_file(path), text);
  }
}

TEST(MetricsTable, AMissingTableBeginsAnew) {
  const Scratch scratch;
  MetricsTable(scratch / "metrics.csv", 5).append(row(6));
  EXPECT_TRUE(read_file(scratch / "metrics.csv").starts_with(header + "6,"));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

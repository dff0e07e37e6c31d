#include "apps/run_directory.h"

#include <nlohmann/json.hpp>

#include "apps/io/atomic_file.h"
#include "tests/apps/io/scratch.h"

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
  save_config(run, config, "some/where");
  EXPECT_EQ(to_json(load_config(run)), to_json(config));
  const auto json = nlohmann::ordered_json::parse(read_file(run.config()));
  EXPECT_EQ(json.at("data"), "some/where");
}

TEST(SavedConfig, MissingOrDamagedIsNamed) {
  const Scratch scratch;
  const RunDirectory run{scratch.dir()};
  const auto message = [&] { return message_of([&] { load_config(run); }); };
  expect_message(message(), run.config().string(), "No such file");
  for (const std::string bad : {"", "{", "3", "[]"}) {
    scratch.write("config.json", bad);
    expect_message(message(), run.config().string(), "the configuration is damaged",
                   "not a JSON object");
  }
  scratch.write("config.json", R"({"epochs": "many"})");
  expect_message(message(), run.config().string(), "[epochs] expected a whole number");
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
  const std::string old = header + "1,old\n2,old\n3,old\n10,old\n";
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
  EXPECT_EQ(after_epoch(1), header + "1,old\n");
  EXPECT_EQ(after_epoch(2), header + "1,old\n2,old\n");
  EXPECT_EQ(after_epoch(10), old);
}

TEST(MetricsTable, HalfARowIsDropped) {
  const Scratch scratch;
  for (const std::string half :
       {"2", "2,1234.5", "2,1234.5679,0.000123457,1000.2500,,0.0001,1,61"}) {
    scratch.write("metrics.csv", header + "1,old\n" + half);
    MetricsTable(scratch / "metrics.csv", 2).append(row(3));
    const std::string text = read_file(scratch / "metrics.csv");
    EXPECT_TRUE(text.starts_with(header + "1,old\n3,")) << text;
  }
}

TEST(MetricsTable, AMissingTableBeginsAnew) {
  const Scratch scratch;
  MetricsTable(scratch / "metrics.csv", 5).append(row(6));
  EXPECT_TRUE(read_file(scratch / "metrics.csv").starts_with(header + "6,"));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

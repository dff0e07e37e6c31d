// A run that was stopped, however, ends as if it had not been.
#include <nlohmann/json.hpp>

#include "backflow/apps/files/safetensors.h"
#include "backflow/tests/apps/snf/program.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

namespace fs = std::filesystem;

// 50 steps an epoch, each long enough to be interrupted.
const std::string training =
    "train selfnorm_fc_mnist --batch-size 1 --lr 0.001 --set num_layers=6 --set warmup_epochs=2";
const std::string run_of_4 = training + " --out run --epochs 4";

const Words outcome = {"checkpoints/last.safetensors", "checkpoints/best.safetensors",
                       "reconstruction.png",           "samples/epoch_001.png",
                       "samples/epoch_002.png",        "samples/epoch_003.png",
                       "samples/epoch_004.png"};

// metrics.csv without its columns of times.
std::string metrics_of(const fs::path& run) {
  std::istringstream lines(read_file(run / "metrics.csv"));
  std::string all;
  for (std::string line; std::getline(lines, line);)
    all += line.substr(0, line.rfind(',', line.rfind(',') - 1)) + "\n";
  return all;
}

class Resume : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    undisturbed_ = new Snf;
    expect_success((*undisturbed_)(run_of_4));
  }
  static void TearDownTestSuite() { delete undisturbed_; }

  void expect_undisturbed_outcome(const std::string& run = "run") const {
    for (const std::string& name : outcome)
      EXPECT_TRUE(read_file(snf / (run + "/" + name)) == read_file(*undisturbed_ / ("run/" + name)))
          << name << " differs";
    EXPECT_EQ(metrics_of(snf / run), metrics_of(*undisturbed_ / "run"));
    EXPECT_EQ(snf.snapshot(run).size(), undisturbed_->snapshot("run").size());
  }

  // Starts it, or goes on with it where there is something to go on with.
  Finished go_on(const Conditions& conditions = {}) const {
    const bool begun = fs::exists(snf / "run/checkpoints/last.safetensors");
    return snf(begun ? "train selfnorm_fc_mnist --out run --resume" : run_of_4, conditions);
  }

  void stop_after_epoch_2() const { expect_success(snf(training + " --out run --epochs 2")); }

  Snf snf;

 private:
  static inline Snf* undisturbed_ = nullptr;
};

TEST(Threads, DoNotChangeOneBit) {
  const Snf snf;
  snf.write_images("data/mnist", 20);  // enough work for several
  for (const std::string experiment : {"selfnorm_fc_mnist", "exact_fc_mnist"}) {
    std::vector<std::string> results;
    for (const std::string threads : {"1", "2", "3"}) {
      expect_success(snf("train " + experiment + " --out " + threads + " --threads " + threads +
                         " --epochs 2 --batch-size 25 --lr 0.01 --set warmup_epochs=0"));
      results.push_back(read_file(snf / (threads + "/checkpoints/last.safetensors")));
      fs::remove_all(snf / threads);
    }
    EXPECT_TRUE(results[0] == results[1]) << experiment << " differs on 1 and 2 threads";
    EXPECT_TRUE(results[0] == results[2]) << experiment << " differs on 1 and 3 threads";
  }
}

TEST_F(Resume, ARunThatIsKilledAtAnyMomentEndsTheSame) {
  const auto appears = [&](const std::string& name) {
    return [path = snf / ("run/" + name)](const std::string&) { return fs::exists(path); };
  };
  const auto prints = [](const std::string& words) {
    return [words](const std::string& out) { return out.find(words) != out.npos; };
  };
  const std::vector<std::pair<const char*, std::function<bool(const std::string&)>>> moments = {
      {"the directory is made", appears("samples")},
      {"the first checkpoint is written", appears("checkpoints/last.safetensors.tmp")},
      {"epoch 1 runs", prints("validation NLL")},
      {"the best checkpoint is written", appears("checkpoints/best.safetensors.tmp")},
      {"the table is written", appears("metrics.csv.tmp")},
      {"a picture is written", appears("samples/epoch_001.png.tmp")},
      {"epoch 1 is over, its checkpoint not written", appears("reconstruction.png")},
      {"epoch 2 runs", prints("1/4")},
      {"epoch 4 runs", prints("3/4")}};
  int killed = 0;
  for (const auto& [moment, when] : moments) {
    SCOPED_TRACE(moment);
    fs::remove_all(snf / "run");
    killed += go_on({.signal = SIGKILL, .when = when}).code == 128 + SIGKILL;
    expect_success(go_on());
    expect_undisturbed_outcome();
  }
  EXPECT_GE(killed, 4) << "of " << moments.size() << "; the others were over too soon";
}

TEST_F(Resume, ARunThatIsKilledOverAndOverEndsTheSame) {
  int killed = 0;
  for (int milliseconds = 10;; milliseconds += 20) {
    const auto start = std::chrono::steady_clock::now();
    const auto late = [&](const std::string&) {
      return std::chrono::steady_clock::now() > start + std::chrono::milliseconds(milliseconds);
    };
    const Finished run = go_on({.signal = SIGKILL, .when = late});
    if (run.code == 0) break;
    ASSERT_EQ(run.code, 128 + SIGKILL) << run.err;
    ++killed;
  }
  EXPECT_GE(killed, 1);
  expect_undisturbed_outcome();
}

// At moments drawn at random over the whole length of a run, and beyond the start of the program.
TEST_F(Resume, AHundredRandomKillsDoNotChangeOneBit) {
  constexpr int kills = 100;
  int killed = 0, runs = 0;
  for (std::uint64_t attempt = 0; killed < kills; ++attempt) {
    ASSERT_LT(attempt, 20u * kills);
    const auto wait =
        std::chrono::microseconds(static_cast<long>(60'000 * Random(attempt).uniform({1})[0]));
    const auto start = std::chrono::steady_clock::now();
    const auto late = [&](const std::string&) {
      return std::chrono::steady_clock::now() - start > wait;
    };
    const Finished run = go_on({.signal = SIGKILL, .when = late});
    if (run.code == 128 + SIGKILL) {
      ++killed;
      continue;
    }
    expect_success(run);
    expect_undisturbed_outcome();
    if (HasFailure()) return;
    fs::remove_all(snf / "run");
    ++runs;
  }
  expect_success(go_on());
  expect_undisturbed_outcome();
  RecordProperty("finished runs", runs);
}

TEST_F(Resume, CtrlCSavesWithinAnEpochAndSaysHowToGoOn) {
  const std::string out = "it's my run";  // a name that a shell takes apart
  Words words = split(training + " --epochs 4 --out");
  words.insert(words.begin(), SNF_PROGRAM);
  words.push_back(out);
  for (const int signal : {SIGINT, SIGTERM}) {
    long step = 0;
    Finished stopped;
    for (int attempt = 0; attempt < 20 && step == 0; ++attempt) {  // until it is within an epoch
      fs::remove_all(snf / out);
      stopped = snf.run(words, {.signal = signal, .when = [](const std::string& printed) {
                                  return printed.find("1/4") != printed.npos;
                                }});
      const auto found = stopped.err.find("after step ");
      step = found == std::string::npos ? 0 : std::stol(stopped.err.substr(found + 11));
    }
    EXPECT_EQ(stopped.code, 128 + signal);
    EXPECT_GT(step, 0);
    expect_words(stopped.err, {"interrupted in epoch ", "and saved; go on with:\n"});
    EXPECT_EQ(stopped.out.find("best: epoch"), std::string::npos);
    const auto saved = load_safetensors(snf / (out + "/checkpoints/last.safetensors")).metadata;
    EXPECT_EQ(saved.at("batch"), std::to_string(step));

    const std::string command = stopped.err.substr(stopped.err.find(":\n") + 2);
    expect_success(snf.run({"/bin/sh", "-c", command}));
    expect_undisturbed_outcome(out);
  }
}

TEST_F(Resume, OfAFinishedRunChangesNothing) {
  expect_success(snf(run_of_4));
  const auto before = snf.snapshot();
  const Finished run = snf("train selfnorm_fc_mnist --out run --resume");
  expect_success(run);
  expect_words(run.out, {"run has its 4 epochs already: nothing to do; more with --epochs"});
  EXPECT_EQ(snf.snapshot(), before);
}

TEST_F(Resume, MoreEpochsGoOn) {
  stop_after_epoch_2();
  expect_success(snf("train selfnorm_fc_mnist --out run --resume --epochs 3"));
  expect_success(snf("train selfnorm_fc_mnist --out run --resume --epochs 4 --lr 1e-3 --seed 0"));
  expect_undisturbed_outcome();
  const auto before = snf.snapshot();
  expect_success(snf("train selfnorm_fc_mnist --out run --resume"));  // remembers that it is 4
  EXPECT_EQ(snf.snapshot(), before);
}

TEST_F(Resume, AnotherConfigurationIsRefused) {
  stop_after_epoch_2();
  const std::vector<std::array<std::string, 3>> contradictions = {
      {"--seed 5", "[seed]", "began with 0, --resume asks for 5"},
      {"--batch-size 7", "[batch_size]", "began with 1, --resume asks for 7"},
      {"--limit-batches 3", "[limit_batches]", "began with 0, --resume asks for 3"},
      {"--set layer=exact", "[layer]", "began with \"self_normalizing\""},
      {"--set alpha=0.5", "[alpha]", "began with 0.3, --resume asks for 0.5"}};
  for (const auto& [flags, field, words] : contradictions)
    expect_refused(snf, "train selfnorm_fc_mnist --out run --resume --epochs 4 " + flags,
                   {field, words, "leave it out, or begin a new run with another --out"});
  expect_refused(
      snf, "train exact_fc_mnist --out run --resume --epochs 4",
      {"last.safetensors", "a checkpoint of 'selfnorm_fc_mnist', expected 'exact_fc_mnist'"});
}

// It goes on with the rate in force, which the checkpoint holds; config.json tells its history.
TEST_F(Resume, AnotherLearningRateIsTakenAndRemembered) {
  stop_after_epoch_2();
  const auto config = [&] { return nlohmann::json::parse(read_file(snf / "run/config.json")); };
  const auto in_force = [&] {
    const TensorFile last = load_safetensors(snf / "run/checkpoints/last.safetensors");
    return nlohmann::json::parse(last.metadata.at("config")).at("lr").get<double>();
  };
  EXPECT_FALSE(config().contains("learning_rates"));
  const std::string resume = "train selfnorm_fc_mnist --out run --resume ";
  expect_success(snf(resume + "--epochs 3 --lr 0.0005"));
  EXPECT_EQ(config().at("lr"), 0.0005);
  EXPECT_EQ(config().at("learning_rates"), "0.001 from the start, 0.0005 since epoch 3");
  EXPECT_EQ(in_force(), 0.0005);
  expect_success(snf(resume + "--epochs 4"));
  EXPECT_EQ(in_force(), 0.0005);
  expect_success(snf(resume + "--epochs 5 --set lr=0.002"));
  EXPECT_EQ(config().at("learning_rates"),
            "0.001 from the start, 0.0005 since epoch 3, 0.002 since epoch 5");
  std::string rates;
  std::istringstream rows(read_file(snf / "run/metrics.csv"));
  for (std::string row; std::getline(rows, row);) {
    std::istringstream cells(row);
    for (int cell = 0; cell < 6; ++cell) std::getline(cells, row, ',');
    rates += row + " ";
  }
  EXPECT_EQ(rates, "learning_rate 0.0005 0.001 0.0005 0.0005 0.002 ");  // the first is of a warm-up
  expect_refused(snf, resume + "--epochs 6 --lr fast", {"[lr] expected a number, got 'fast'"});
  expect_refused(snf, resume + "--epochs 6 --lr 0", {"[lr] expected a positive number, got 0"});
}

TEST_F(Resume, GoesOnFromTheBestCheckpointWhenTheLastIsLost) {
  for (const std::string epochs : {"1", "2", "3"}) {
    fs::remove_all(snf / "run");
    expect_success(snf(training + " --out run --epochs " + epochs));
    fs::remove(snf / "run/checkpoints/last.safetensors");
    expect_refused(snf, run_of_4, {"[run] holds a run already"});
    const Finished run = snf("train selfnorm_fc_mnist --out run --resume --epochs 4");
    EXPECT_EQ(run.code, 0);
    EXPECT_EQ(run.err,
              "run/checkpoints/last.safetensors is missing: going on from "
              "run/checkpoints/best.safetensors\n");
    expect_undisturbed_outcome();
  }
}

TEST_F(Resume, FindsTheImagesWhereTheRunHadThemFromAnywhere) {
  fs::rename(snf / "data/mnist", snf / "mine");
  expect_success(snf(training + " --out run --epochs 2 --data mine"));
  const std::string checkpoint = (snf / "run/checkpoints/best.safetensors").string();
  const auto elsewhere = [&](const std::string& arguments) {
    return snf.run({"/bin/sh", "-c", "cd / && exec " SNF_PROGRAM " " + arguments});
  };
  const Finished here = snf("evaluate selfnorm_fc_mnist --json --checkpoint " + checkpoint);
  expect_success(here);
  EXPECT_EQ(elsewhere("evaluate selfnorm_fc_mnist --json --checkpoint " + checkpoint).out,
            here.out);
  expect_success(elsewhere("reconstruct selfnorm_fc_mnist --checkpoint " + checkpoint + " --out " +
                           (snf / "back.png").string()));
  expect_success(
      elsewhere("train selfnorm_fc_mnist --resume --epochs 4 --out " + (snf / "run").string()));
  expect_undisturbed_outcome();
}

TEST_F(Resume, OtherImagesAreRefusedButTheSameElsewhereAreNot) {
  stop_after_epoch_2();
  snf.write_images("other", 6, 5);
  snf.write_images("larger", 7);
  for (const std::string data : {"other", "larger"})
    expect_refused(snf, "train selfnorm_fc_mnist --out run --resume --epochs 4 --data " + data,
                   {"[" + data + "]", "not the images that this run began with", "--data"});
  fs::rename(snf / "data/mnist", snf / "moved");
  expect_success(snf("train selfnorm_fc_mnist --out run --resume --epochs 4 --data moved"));
  expect_undisturbed_outcome();
}

TEST_F(Resume, RowsNewerThanTheCheckpointAndLeftoversAreDropped) {
  stop_after_epoch_2();
  snf.write("run/metrics.csv",
            read_file(snf / "run/metrics.csv") + "3,1,1,1,1,1,1,1\n4,1,1,1,1,1,1,1\n5,1");
  const Words leftovers = {"metrics.csv.tmp", "config.json.tmp1",
                           "checkpoints/last.safetensors.tmp", "checkpoints/best.safetensors.tmp",
                           "samples/epoch_003.png.tmp"};
  for (const std::string& name : leftovers) snf.write("run/" + name, "half a file");
  expect_success(snf("train selfnorm_fc_mnist --out run --resume --epochs 4"));
  expect_undisturbed_outcome();
}

TEST_F(Resume, NothingToResumeIsSaidSo) {
  expect_refused(snf, "train selfnorm_fc_mnist --out run --resume",
                 {"[run/checkpoints/last.safetensors]", "nothing to resume", "leave --resume out"});
}

TEST_F(Resume, ADirectoryThatHoldsARunIsNotOverwritten) {
  stop_after_epoch_2();
  expect_refused(snf, run_of_4, {"[run] holds a run already", "--resume", "another --out"});
}

TEST_F(Resume, APlaceThatIsNoneIsRefused) {
  stop_after_epoch_2();
  const fs::path last = snf / "run/checkpoints/last.safetensors";
  const TensorFile good = load_safetensors(last);
  const std::vector<std::array<std::string, 3>> bad = {
      {"epoch", "-1", "no place"},
      {"batch", "51", "no place in epochs of 50 steps"},
      {"batch", "half", "'batch' should be a number, found 'half'"},
      {"optimizer_steps", "", "'optimizer_steps' should be a number, found ''"},
      {"data_checksum", "0", "not the images that this run began with"}};
  for (const auto& [key, value, words] : bad) {
    TensorFile file = good;
    file.metadata[key] = value;
    save_safetensors(last, file);
    expect_refused(snf, "train selfnorm_fc_mnist --out run --resume --epochs 4", {words});
  }
}

TEST_F(Resume, AWriteThatFailsKeepsTheCheckpointBefore) {
  stop_after_epoch_2();
  const fs::path last = snf / "run/checkpoints/last.safetensors";
  const std::string before = read_file(last);
  const Finished full = snf("train selfnorm_fc_mnist --out run --resume --epochs 4",
                            {.largest_file = before.size() / 2});
  EXPECT_EQ(full.code, 2);
  EXPECT_TRUE(full.err.starts_with("snf: [run/checkpoints/")) << full.err;
  EXPECT_EQ(full.err.find('\n') + 1, full.err.size());
  expect_words(full.err, {"cannot write: File too large", "free some space or raise the limit"});
  EXPECT_TRUE(read_file(last) == before);
  for (const auto& [name, file] : snf.snapshot("run")) EXPECT_EQ(name.find(".tmp"), name.npos);
  expect_success(snf("evaluate selfnorm_fc_mnist --checkpoint run/checkpoints/last.safetensors"));
  expect_success(snf("train selfnorm_fc_mnist --out run --resume"));
  expect_undisturbed_outcome();
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

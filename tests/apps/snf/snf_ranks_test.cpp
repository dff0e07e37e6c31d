// `mpirun -n R snf train`: the bits depend on the shards, and not on who computes them.
#include "backflow/engine/processors.h"
#include "backflow/tests/apps/snf/program.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

namespace fs = std::filesystem;

const std::string mpirun = MPIRUN;
// It looks for an agent that logs in to other machines in any case.
const std::string options = " --allow-run-as-root --oversubscribe --mca plm_rsh_agent /bin/true";
// After a process has ended with an error, the others are killed without the second that they
// otherwise have to save in.
const std::string impatient = " --mca odls_base_sigkill_timeout 0";

class MpiRanks : public testing::Test {
 protected:
  void SetUp() override {
    if (mpirun.empty()) GTEST_SKIP() << "mpirun, or MPI, is missing";
    static const Finished started = snf.run(split(mpirun + options + " -n 1 /bin/true"));
    if (started.code != 0) GTEST_SKIP() << "mpirun starts nothing here: " << started.err;
    snf.write_images("data/mnist", 16);
  }

  Finished on_ranks(int ranks, const std::string& arguments, const Conditions& conditions = {},
                    const std::string& mpirun_options = "") {
    Words words = split(arguments);
    // Containers may forbid that processes read each other's memory, which mpirun then complains
    // of; and it puts its own directory into PATH, where gnuplot is, which takes longer than all
    // the rest.
    Words start = split(mpirun + options + mpirun_options +
                        " --mca btl_vader_single_copy_mechanism none -n " + std::to_string(ranks) +
                        " /usr/bin/env");
    start.insert(start.end(), {"PATH=" + conditions.path, snf.program()});
    words.insert(words.begin(), start.begin(), start.end());
    return snf.run(words, conditions);
  }
  std::string checkpoint(const std::string& run) const {
    return read_file(snf / (run + "/checkpoints/last.safetensors"));
  }
  bool has_best() const { return fs::exists(snf / "run/checkpoints/best.safetensors"); }

  // The processes of the program that are at work in the test's directory.
  std::vector<pid_t> ranks_at_work() const {
    std::vector<pid_t> found;
    for (const auto& entry : fs::directory_iterator("/proc")) {
      std::error_code ignored;
      const fs::path process = entry.path();
      if (fs::read_symlink(process / "exe", ignored) == fs::canonical(snf.program()) &&
          fs::read_symlink(process / "cwd", ignored) == fs::canonical(snf.directory()))
        found.push_back(std::stoi(process.filename()));
    }
    return found;
  }

  const Snf snf;
};

const std::string small = "--batch-size 8 --set shards=4 --quiet ";

TEST_F(MpiRanks, HaveTheSameBitsAsOneProcessHas) {
  for (const std::string model :
       {"selfnorm_cnn_mnist --set num_blocks=2,block_size=1 ", "exact_fc_mnist ",
        "geco_selfnorm_glow_mnist --set num_blocks=2,block_size=1,width=8 "}) {
    expect_success(snf("train " + model + small + "--epochs 2 --out alone --threads 1"));
    for (const auto& [ranks, threads] : {std::pair{2, 3}, std::pair{4, 2}}) {
      expect_success(on_ranks(ranks, "train " + model + small +
                                         "--epochs 2 --out together --threads " +
                                         std::to_string(threads)));
      EXPECT_TRUE(checkpoint("together") == checkpoint("alone")) << model << ranks << " ranks";
      fs::remove_all(snf / "together");
    }
    fs::remove_all(snf / "alone");
  }
}

const std::string cnn = "selfnorm_cnn_mnist --set num_blocks=2,block_size=1 " + small;

TEST_F(MpiRanks, OnlyTheFirstWritesAndSpeaks) {
  const Finished run = on_ranks(2,
                                "train selfnorm_cnn_mnist --set num_blocks=2,block_size=1,shards=2 "
                                "--batch-size 8 --epochs 1 --out run");
  expect_success(run);
  const std::string ranks = "ranks: 2, each computes 1 of the shards; threads of the first: " +
                            std::to_string(std::max(1, available_processors() / 2)) + "\n";
  EXPECT_EQ(run.out.find(ranks), run.out.rfind(ranks)) << run.out;
  EXPECT_NE(run.out.find(ranks), std::string::npos) << run.out;
  EXPECT_FALSE(fs::exists(snf / "run/lock"));
}

TEST_F(MpiRanks, OneThatIsKilledEndsTheRunWhichGoesOnWithAnotherNumber) {
  expect_success(snf("train " + cnn + "--out whole --epochs 15"));
  Conditions conditions;
  conditions.signal = SIGCONT;  // to mpirun, which does not mind
  conditions.when = [&](const std::string&) {
    const std::vector<pid_t> ranks = ranks_at_work();
    return has_best() && ranks.size() == 2 && kill(ranks[1], SIGKILL) == 0;
  };
  EXPECT_NE(on_ranks(2, "train " + cnn + "--out run --epochs 15", conditions).code, 0);
  expect_success(on_ranks(4, "train selfnorm_cnn_mnist --out run --resume --quiet"));
  EXPECT_TRUE(checkpoint("run") == checkpoint("whole"));
}

TEST_F(MpiRanks, ThatCannotTrainTogetherAreToldInALine) {
  const auto refuse = [&](int ranks, const std::string& options, const Words& words) {
    const Finished run = on_ranks(ranks, options, {}, impatient);
    EXPECT_EQ(run.code, 2);
    const std::string line = run.err.substr(0, run.err.find('\n'));
    for (const std::string& word : words)
      EXPECT_NE(line.find(word), std::string::npos) << word << " in " << run.err;
    EXPECT_EQ(run.err.find("snf"), 0u) << run.err;
    EXPECT_EQ(run.err.find("\nsnf"), std::string::npos) << "said once: " << run.err;
    EXPECT_FALSE(fs::exists(snf / "runs"));
  };
  refuse(3, "train " + cnn, {"snf: [ranks] 3 ranks", "a power of two"});
  refuse(2, "train selfnorm_cnn_mnist", {"snf: [shards] 2 ranks cannot share 1 shard"});
  refuse(2, "train selfnorm_cnn_mnist --nothing", {"snf: ", "--nothing"});
  refuse(2, "evaluate selfnorm_cnn_mnist --checkpoint x", {"snf: [mpirun]", "without mpirun"});
}

TEST_F(MpiRanks, ASignalStopsAllAfterTheSameStepAndSavesOnce) {
  expect_success(snf("train " + cnn + "--out whole --epochs 15"));
  Conditions stopped;
  stopped.signal = SIGTERM;
  stopped.when = [&](const std::string&) { return has_best(); };
  const Finished first = on_ranks(4, "train " + cnn + "--out run --epochs 15", stopped);
  EXPECT_NE(first.code, 0);
  const std::string saved = "and saved; go on with:\n  mpirun -n 4 ";
  EXPECT_NE(first.err.find(saved), std::string::npos) << first.err;
  EXPECT_EQ(first.err.find(saved), first.err.rfind(saved)) << first.err;
  expect_success(on_ranks(2, "train selfnorm_cnn_mnist --out run --resume --quiet"));
  EXPECT_TRUE(checkpoint("run") == checkpoint("whole"));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

// `snf train --set shards=S`: the bits depend on S, and on nothing else.
#include "backflow/tests/apps/snf/program.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

namespace fs = std::filesystem;

const std::string training =
    "train selfnorm_cnn_mnist --batch-size 7 --set block_size=1,num_blocks=2,shards=4 ";

std::string checkpoint(const Snf& snf, const std::string& run) {
  return read_file(snf / (run + "/checkpoints/last.safetensors"));
}

TEST(Shards, HaveTheSameBitsInAnyOrderAndOnAnyThreads) {
  const Snf snf;
  snf.write_images("data/mnist", 8);
  expect_success(snf(training + "--out one --epochs 2 --threads 1"));
  for (const std::string how : {"--threads 2", "--threads 8", "--threads 3 --shard-order in-turn",
                                "--threads 2 --shard-order side-by-side"}) {
    expect_success(snf(training + "--out other --epochs 2 " + how));
    EXPECT_TRUE(checkpoint(snf, "other") == checkpoint(snf, "one")) << how;
    fs::remove_all(snf / "other");
  }
  expect_success(snf(training + "--out other --epochs 2 --set shards=3"));
  EXPECT_FALSE(checkpoint(snf, "other") == checkpoint(snf, "one"));
}

TEST(Shards, AreInTheHeadAndTheFirstStepsFindTheFasterOrder) {
  const Snf snf;
  snf.write_images("data/mnist", 8);
  const auto said = [&](const std::string& how) {
    const Finished run = snf(training + "--epochs 2 --out run " + how);
    expect_success(run);
    fs::remove_all(snf / "run");
    return run.out;
  };
  expect_words(said("--threads 2"),
               {"shards: 4 to a batch, one after another or side by side", "4 shards ",
                " ms a step one after another, ", " side by side\n"});
  expect_words(said("--threads 1"), {"shards: 4 to a batch, one after another\n"});
  expect_words(said("--threads 2 --shard-order side-by-side"),
               {"shards: 4 to a batch, side by side\n"});
  EXPECT_EQ(said("--threads 2 --set shards=1").find("shards"), std::string::npos);
}

TEST(Shards, AResumedRunHasThoseItBeganWith) {
  const Snf snf;
  snf.write_images("data/mnist", 8);
  expect_success(snf(training + "--out whole --epochs 2"));
  expect_success(snf(training + "--out half --epochs 1"));
  expect_refused(snf, "train selfnorm_cnn_mnist --out half --resume --set shards=2",
                 {"[shards] this run began with 4", "asks for 2"});
  expect_success(snf("train selfnorm_cnn_mnist --out half --resume --epochs 2 --threads 2"));
  EXPECT_TRUE(checkpoint(snf, "half") == checkpoint(snf, "whole"));
}

TEST(Shards, ThatCannotBeAreRefused) {
  const Snf snf;
  expect_refused(snf, training + "--set shards=8", {"[shards] expected 1 to 7, got 8"});
  expect_refused(snf, training + "--set shards=0", {"[shards] expected 1 to 7, got 0"});
  expect_refused(snf, training + "--shard-order both",
                 {"[--shard-order] expected one of in-turn, side-by-side", "got 'both'"});
}

TEST(Shards, AreTimedByTheBench) {
  const Snf snf;
  const std::string bench =
      "bench selfnorm_cnn_mnist --steps 1 --batch-size 4 --set block_size=1,shards=2 ";
  for (const std::string order : {"in-turn", "side-by-side"})
    expect_success(snf(bench + "--threads 2 --shard-order " + order));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

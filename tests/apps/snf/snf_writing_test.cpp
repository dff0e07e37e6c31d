// What the program does to files that it writes: devices, links, two runs at once, files in the
// way.
#include <sys/stat.h>

#include "backflow/apps/files/safetensors.h"
#include "backflow/tests/apps/snf/program_output.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

const std::string train = "train selfnorm_fc_mnist --out run ";
const std::string last = "run/checkpoints/last.safetensors";

Words shell(const std::string& commands) { return {"/bin/sh", "-c", commands}; }

bool is_png(const fs::path& path) { return read_file(path).starts_with("\x89PNG"); }

// 5,000 steps an epoch, of a third of a millisecond or so each.
void write_many_images(const Snf& snf) {
  std::string bytes = idx_header(6000, 6, 6);
  for (Real u : Random(3).uniform({6000 * 36}).values())
    bytes += static_cast<char>(static_cast<int>(256 * u));
  snf.write("data/mnist/train-images-idx3-ubyte", bytes);
}

const std::string long_epochs = train + "--batch-size 1 --lr 0.001 --set num_layers=12 ";

// Holds once so much time has gone by since it was first asked.
auto after(std::chrono::milliseconds wait) {
  return [wait, start = std::optional<std::chrono::steady_clock::time_point>()](
             const std::string&) mutable {
    const auto now = std::chrono::steady_clock::now();
    if (!start) start = now;
    return now - *start > wait;
  };
}

// A run of one step whose checkpoint can be drawn from.
class Writing : public testing::Test {
 protected:
  Writing() { expect_success(snf(train + "--epochs 1 --limit-batches 1")); }
  const std::string sample = "sample selfnorm_fc_mnist --count 4 --checkpoint " + last + " --out ";
  Snf snf;
};

TEST_F(Writing, ALinkToADeviceStaysOneAndSoDoesTheDevice) {
  fs::create_symlink("/dev/null", snf / "null.png");
  expect_success(snf(sample + "null.png"));
  EXPECT_EQ(fs::read_symlink(snf / "null.png"), "/dev/null");
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
}

TEST_F(Writing, ADeviceOfItsOwnIsWrittenInto) {
  const fs::path device = snf / "device.png";
  if (mknod(device.c_str(), S_IFCHR | 0666, 1 << 8 | 3) != 0) GTEST_SKIP() << "only root can";
  const Finished run = snf(sample + "device.png");
  EXPECT_TRUE(fs::is_character_file(device));
  if (run.err.find("ermission") == run.err.npos) expect_success(run);  // a nodev file system
}

TEST_F(Writing, APipeGetsThePicture) {
  expect_success(snf.run(shell("/usr/bin/mkfifo pipe.png && { /bin/cat pipe.png >got.png & } && " +
                               std::string(SNF_PROGRAM) + " " + sample + "pipe.png && wait")));
  EXPECT_TRUE(fs::is_fifo(snf / "pipe.png"));
  EXPECT_TRUE(is_png(snf / "got.png"));
}

TEST_F(Writing, GoesThroughLinksToTheFile) {
  fs::create_directory(snf / "elsewhere");
  snf.write("elsewhere/old.png", "old");
  fs::permissions(snf / "elsewhere/old.png", fs::perms{0600});
  fs::create_symlink("elsewhere/old.png", snf / "old.png");
  fs::create_symlink("elsewhere/new.png", snf / "new.png");
  fs::create_symlink("old.png", snf / "twice.png");
  for (const auto& [link, file] : {std::pair{"old.png", "elsewhere/old.png"},
                                   {"new.png", "elsewhere/new.png"},
                                   {"twice.png", "elsewhere/old.png"}}) {
    expect_success(snf(sample + link));
    EXPECT_TRUE(fs::is_symlink(snf / link)) << link;
    EXPECT_TRUE(is_png(snf / file)) << file;
  }
  EXPECT_EQ(fs::status(snf / "elsewhere/old.png").permissions(), fs::perms{0600});
  fs::create_symlink("circle.png", snf / "circle.png");
  const Finished circle = snf(sample + "circle.png");
  EXPECT_EQ(circle.code, 2);
  expect_words(circle.err, {"[circle.png] cannot write", "symbolic link"});
}

TEST_F(Writing, ACheckpointThatIsALinkStaysOne) {
  fs::rename(snf / last, snf / "kept.safetensors");
  fs::create_symlink(snf / "kept.safetensors", snf / last);
  expect_success(snf(train + "--resume --epochs 2"));
  EXPECT_TRUE(fs::is_symlink(snf / last));
  EXPECT_EQ(load_safetensors(snf / "kept.safetensors").metadata.at("epoch"), "2");
}

TEST(TwoRuns, InOneDirectoryDoNotMeet) {
  const Snf snf;
  write_many_images(snf);
  Finished anew, resumed, elsewhere;
  std::string holder;
  const auto meanwhile = [&](const std::string&) {
    if (!fs::exists(snf / "run/lock") || read_file(snf / "run/lock").empty()) return false;
    holder = read_file(snf / "run/lock");
    anew = snf(long_epochs + "--epochs 1");
    resumed = snf(long_epochs + "--resume --epochs 3");
    elsewhere = snf("train selfnorm_fc_mnist --out other --epochs 1 --limit-batches 1");
    return true;
  };
  const Finished first = snf(long_epochs + "--epochs 60", {.signal = SIGTERM, .when = meanwhile});
  EXPECT_EQ(first.code, 128 + SIGTERM);
  ASSERT_TRUE(holder.ends_with('\n'));
  holder.pop_back();
  for (const Finished& second : {anew, resumed}) {
    EXPECT_EQ(second.code, 2);
    EXPECT_EQ(second.err,
              "snf: [run] process " + holder +
                  " is training here; wait for it, stop it, or choose another directory "
                  "with --out\n");
  }
  expect_success(elsewhere);
  EXPECT_FALSE(fs::exists(snf / "run/lock"));
  const auto locked = [&](const std::string&) { return fs::exists(snf / "run/lock"); };
  EXPECT_EQ(snf(train + "--resume --epochs 60", {.signal = SIGTERM, .when = locked}).code,
            128 + SIGTERM);
}

TEST(TwoRuns, ALockThatAKilledProcessLeftKeepsNobodyOut) {
  const Snf snf;
  write_many_images(snf);
  const auto begun = [&](const std::string&) { return fs::exists(snf / last); };
  EXPECT_EQ(snf(long_epochs + "--epochs 60", {.signal = SIGKILL, .when = begun}).code,
            128 + SIGKILL);
  expect_success(snf(train + "--resume --epochs 1"));
  EXPECT_FALSE(fs::exists(snf / "run/lock"));
}

// The same run with every picture in the way of a directory or a file.
TEST(PicturesThatFail, AreWarningsAndChangeNoBit) {
  const Snf snf;
  snf.write_images("data/mnist", 8);
  const std::string cnn =
      "train selfnorm_cnn_mnist --epochs 2 --batch-size 10 --set num_blocks=2,block_size=1 --out ";
  const Conditions with_gnuplot = {.path = std::getenv("PATH")};
  expect_success(snf(cnn + "good", with_gnuplot));
  fs::create_directories(snf / "bad/samples/epoch_002.png");
  fs::create_directories(snf / "bad/reconstruction.png");
  fs::create_directories(snf / "bad/curve.png");
  snf.write("bad/filters", "a file");
  const Finished run = snf(cnn + "bad", with_gnuplot);
  EXPECT_EQ(run.code, 0);
  Words pictures = {"bad/reconstruction.png", "bad/filters", "bad/samples/epoch_002.png"};
  if (is_there("gnuplot")) pictures.push_back("bad/curve.png");
  for (const std::string& picture : pictures)
    expect_words(run.err, {"epoch 2, a picture is left out: ", picture});
  EXPECT_EQ(std::count(run.err.begin(), run.err.end(), '\n'),
            static_cast<long>(2 * pictures.size() - 1))
      << run.err;
  for (const std::string file : {"last", "best"}) {
    const std::string name = "/checkpoints/" + file + ".safetensors";
    EXPECT_TRUE(read_file(snf / ("bad" + name)) == read_file(snf / ("good" + name))) << file;
  }
}

TEST(LinesThatFail, AreOneWarningAndTheRunGoesOn) {
  const Snf snf;
  const std::string command = SNF_PROGRAM " " + train + "--epochs 2 --limit-batches 1 ";
  const Finished full = snf.run(shell(command + ">/dev/full"));
  EXPECT_EQ(full.code, 0);
  expect_words(full.err, {"warning: cannot write to the standard output (No space left"});
  EXPECT_EQ(std::count(full.err.begin(), full.err.end(), '\n'), 1);
  EXPECT_EQ(load_safetensors(snf / last).metadata.at("epoch"), "2");
  fs::remove_all(snf / "run");
  const Finished closed =
      snf.run(shell("{ " + command + "; echo $? >code; } | :; while ! test -s code; do :; done"));
  EXPECT_EQ(read_file(snf / "code"), "0\n");
  EXPECT_EQ(load_safetensors(snf / last).metadata.at("epoch"), "2");
}

TEST(ARowThatFails, StopsTheRunAndTheLastGoodCheckpointStays) {
  const Snf snf;
  expect_success(snf(train + "--epochs 1"));
  const std::string before = read_file(snf / last), table = read_file(snf / "run/metrics.csv");
  fs::rename(snf / "run/metrics.csv", snf / "table");
  fs::create_directories(snf / "run/metrics.csv");
  const Finished run = snf(train + "--epochs 3 --resume");
  EXPECT_EQ(run.code, 2);
  expect_words(run.err, {"snf: [run/metrics.csv] cannot", "directory"});
  EXPECT_TRUE(read_file(snf / last) == before);
  fs::remove(snf / "run/metrics.csv");
  fs::rename(snf / "table", snf / "run/metrics.csv");
  expect_success(snf(train + "--epochs 3 --resume"));
  EXPECT_TRUE(read_file(snf / "run/metrics.csv").starts_with(table));
}

// ---- Within an epoch --------------------------------------------------------------------------

// They are stopped within an epoch, whichever: how far a run has come by then nobody can know.
class LongEpochs : public testing::Test {
 protected:
  LongEpochs() { write_many_images(snf); }
  std::string batch() const { return load_safetensors(snf / last).metadata.at("batch"); }
  // To the end of the epoch that the checkpoint is in.
  std::string to_the_end() const {
    const int done = std::stoi(load_safetensors(snf / last).metadata.at("epoch"));
    return "--epochs " + std::to_string(done + 1);
  }

  const std::string many = long_epochs + "--epochs 60 ";
  Snf snf;
};

TEST_F(LongEpochs, ArePreservedWithinSoThatLittleIsLost) {
  const auto saved = [&](const std::string&) {
    if (!fs::exists(snf / "run/elapsed.json")) return false;
    return fs::exists(snf / last) && batch() != "0";
  };
  const Finished run = snf(many + "--save-every 0.0001", {.signal = SIGKILL, .when = saved});
  EXPECT_EQ(run.code, 128 + SIGKILL);
  EXPECT_NE(batch(), "0");
  const auto config = load_safetensors(snf / last).metadata.at("config");
  EXPECT_EQ(config.find("save"), config.npos);
  const std::string epochs = to_the_end();
  expect_success(snf(train + "--resume " + epochs));
  const std::string resumed = read_file(snf / last);
  fs::remove_all(snf / "run");
  expect_success(snf(long_epochs + epochs));
  EXPECT_TRUE(read_file(snf / last) == resumed);
}

TEST_F(LongEpochs, HaveNoCheckpointWithinWhenNoneIsAskedFor) {
  const auto late = after(std::chrono::milliseconds(600));
  const Finished run = snf(many + "--save-every 0", {.signal = SIGKILL, .when = late});
  EXPECT_EQ(run.code, 128 + SIGKILL);
  EXPECT_EQ(batch(), "0");
}

TEST_F(LongEpochs, OfAResumedRunCountAllTheirSeconds) {
  const auto late = after(std::chrono::milliseconds(700));
  EXPECT_EQ(snf(many, {.signal = SIGINT, .when = late}).code, 128 + SIGINT);
  const double first = Json::parse(read_file(snf / "run/elapsed.json"))["seconds"];
  EXPECT_GT(first, 0);  // in the epoch that it stopped in
  const auto start = std::chrono::steady_clock::now();
  expect_success(snf(train + "--resume " + to_the_end()));
  const std::chrono::duration<double> second = std::chrono::steady_clock::now() - start;
  const Words row = rows_of(read_file(snf / "run/metrics.csv")).back();
  const double seconds = std::stod(row[7]), ms_per_step = std::stod(row[6]);
  EXPECT_GT(seconds, first);
  EXPECT_LT(seconds, first + second.count() + 0.01);
  EXPECT_GT(5000 * ms_per_step / 1000, first);
  EXPECT_FALSE(fs::exists(snf / "run/elapsed.json"));
}

TEST_F(LongEpochs, AHangUpSavesLikeATermination) {
  const auto late = after(std::chrono::milliseconds(600));
  const Finished run = snf(many, {.signal = SIGHUP, .when = late});
  EXPECT_EQ(run.code, 128 + SIGHUP);
  expect_words(run.err, {"and saved; go on with:"});
  EXPECT_TRUE(fs::exists(snf / "run/elapsed.json"));
}

TEST_F(LongEpochs, SignalsThatWereIgnoredStayIgnored) {
  for (const auto& [name, signal] : {std::pair{"INT", SIGINT}, {"HUP", SIGHUP}}) {
    fs::remove_all(snf / "run");
    const std::string command =
        std::string("trap '' ") + name + "; exec " SNF_PROGRAM " " + long_epochs + "--epochs 1";
    const Finished run =
        snf.run(shell(command), {.signal = signal, .when = after(std::chrono::milliseconds(500))});
    EXPECT_EQ(run.code, 0) << name;
    EXPECT_EQ(load_safetensors(snf / last).metadata.at("epoch"), "1");
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

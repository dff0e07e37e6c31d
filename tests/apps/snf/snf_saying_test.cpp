// What the program says: of itself, of its models, on narrow terminals, and instead of hanging.
#include "backflow/apps/files/safetensors.h"
#include "backflow/apps/model/experiments.h"
#include "backflow/tests/apps/snf/program.h"
#include "backflow/tests/apps/snf/program_output.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

const std::string last = " --checkpoint run/checkpoints/last.safetensors ";
const std::string train = "train selfnorm_fc_mnist --epochs 1 --limit-batches 1 --out run ";

void expect_one_line(const Finished& run) {
  EXPECT_TRUE(run.err.starts_with("snf: ")) << run.err;
  EXPECT_EQ(run.err.find('\n') + 1, run.err.size()) << run.err;
}

// ---- Memory -----------------------------------------------------------------------------------

// OpenBLAS asks for its memory again and again, where it gets none.
TEST(LittleAddressSpace, IsSaidInOneLineOrDoesButHangsNothing) {
  const Snf snf;
  expect_success(snf(train));
  for (const std::string command :
       {"list", "--version", "train --help", "bench selfnorm_fc_mnist --steps 1",
        "evaluate selfnorm_fc_mnist", "sample selfnorm_fc_mnist --out x.png",
        "train selfnorm_fc_mnist --out other --epochs 1 --limit-batches 1"}) {
    for (const rlim_t megabytes : {100, 150, 200, 300, 400, 600}) {
      const bool reads = command.starts_with("evaluate") || command.starts_with("sample");
      SCOPED_TRACE(command + " with " + std::to_string(megabytes) + " MB");
      const Finished run =
          snf(command + (reads ? last : ""), {.address_space = megabytes * 1'000'000});
      fs::remove_all(snf / "other");
      if (command == "--version") {
        EXPECT_EQ(run.code, 0);  // computes nothing
      }
      if (run.code == 0) continue;
      EXPECT_EQ(run.code, 2);
      expect_one_line(run);
      expect_words(run.err, {"snf: out of memory"});
    }
  }
}

TEST(LittleAddressSpace, IsEnoughForOneThreadThatIsSaidToBeTooLittleForMore) {
  const Snf snf;
  const Finished two = snf(train + "--threads 2", {.address_space = 300'000'000});
  EXPECT_EQ(two.code, 2);
  expect_one_line(two);
  expect_words(two.err, {"out of memory: 0.3 GB asked for the products of 2 threads",
                         "ask for fewer images, smaller batches or fewer threads"});
  fs::remove_all(snf / "run");
  expect_success(snf(train + "--threads 1", {.address_space = 300'000'000}));
}

// ---- Numbers ----------------------------------------------------------------------------------

TEST(Numbers, AreReadAlikeEverywhere) {
  const Snf snf;
  const Words train{"train", "selfnorm_fc_mnist"},
      sample{"sample", "selfnorm_fc_mnist", "--checkpoint", "x", "--out", "y"};
  const std::vector<std::tuple<Words, std::string, std::string>> places = {
      {train, "--lr", ""},
      {train, "--set", "lr="},
      {train, "--epochs", ""},
      {train, "--seed", ""},
      {train, "--set", "seed="},
      {train, "--threads", ""},
      {sample, "--count", ""},
      {sample, "--temperature", ""},
      {sample, "--seed", ""},
      {sample, "--set", "lr="},
      {{"bench", "selfnorm_fc_mnist"}, "--set", "alpha="}};
  for (const auto& [command, flag, key] : places) {
    for (const std::string number :
         {"0x10", "0x1p3", " 5", "5 ", "+5", "5,", "5x", "1e", "inf", "nan", "1e999"}) {
      if (flag == "--set" && number == "5,") continue;     // between two assignments
      if (command == sample && flag == "--set") continue;  // read after the checkpoint
      Words words{SNF_PROGRAM};
      words.insert(words.end(), command.begin(), command.end());
      words.insert(words.end(), {flag, key + number});
      const Finished run = snf.run(words);
      SCOPED_TRACE(flag + " '" + key + number + "'");
      EXPECT_EQ(run.code, 2);
      expect_one_line(run);
      expect_words(run.err, {"] expected a ", "number", "got '" + number + "'"});
    }
  }
}

TEST(Numbers, OfDamagedFilesAreReadNoOtherWay) {
  const Snf snf;
  expect_success(snf(train));
  const fs::path checkpoint = snf / "run/checkpoints/last.safetensors";
  TensorFile file = load_safetensors(checkpoint);
  file.metadata["config"] = R"({"lr": "0x10"})";
  save_safetensors(checkpoint, file);
  expect_refused(snf, "evaluate selfnorm_fc_mnist" + last, {"[lr] expected a number, got '0x10'"});
}

TEST(Seeds, GoFromZeroTo2To63Minus1Everywhere) {
  const Snf snf;
  for (const std::string seed : {"0", "9223372036854775807"}) {
    expect_success(snf(train + "--quiet --seed " + seed));
    expect_success(snf("sample selfnorm_fc_mnist --out x.png --seed " + seed + last));
    fs::remove_all(snf / "run");
  }
  for (const std::string seed : {"-1", "9223372036854775808", "18446744073709551615"}) {
    expect_refused(snf, train + "--seed " + seed, {"[seed] expected", "got", seed});
    expect_refused(
        snf, "sample selfnorm_fc_mnist --out x.png --seed " + seed + last,
        {"[--seed] expected a whole number from 0 to 9223372036854775807, got '" + seed + "'"});
  }
}

// ---- Pictures ---------------------------------------------------------------------------------

TEST(Pictures, ArePngsAndNamedSo) {
  const Snf snf;
  expect_success(snf(train));
  for (const std::string command : {"sample", "reconstruct"}) {
    const std::string picture = command + " selfnorm_fc_mnist" + last + "--count 2 --out ";
    for (const std::string name : {"a.png", "a.PNG", "a.b.png", "a"}) {
      expect_success(snf(picture + name));
      EXPECT_GT(read_png(snf / name).width, 0) << name;
      fs::remove(snf / name);
    }
    expect_refused(snf, picture + "a.b.jpg",
                   {"[--out] expected a file name that ends in .png", "since a PNG is written",
                    "got 'a.b.jpg'; name it 'a.b.png'"});
    // Before anything is read.
    expect_refused(snf, command + " selfnorm_fc_mnist --checkpoint none --out dir/a.jpeg",
                   {"[--out]", "name it 'dir/a.png'"});
  }
}

TEST(Pictures, HoldNoMoreImagesThanTheHelpSays) {
  const Snf snf;
  for (const auto& [command, most] :
       {std::pair<std::string, std::string>{"sample", "65536"}, {"reconstruct", "10000"}}) {
    expect_words(snf(command + " --help").out, {"how many, up to " + most});
    const std::string one_more = std::to_string(std::stoi(most) + 1);
    for (const std::string count : {one_more.c_str(), "1000000000000", "100000000000000000000"})
      expect_refused(snf,
                     command + " selfnorm_fc_mnist --checkpoint none --out x.png --count " + count,
                     {"[--count] expected a whole number from 1 to " + most + ", got '" + count});
    expect_refused(snf,
                   command + " selfnorm_fc_mnist --checkpoint none --out x.png --count " + most,
                   {"[none] cannot read"});
  }
}

// ---- The terminal -----------------------------------------------------------------------------

TEST(NarrowTerminal, GetsNoLineThatItWouldBreak) {
  for (const unsigned short columns : {50, 20, 1}) {
    SCOPED_TRACE(std::to_string(columns) + " columns");
    const Finished run = Snf()("train selfnorm_fc_mnist --epochs 2 --batch-size 10",
                               {.terminal = true, .columns = columns});
    EXPECT_EQ(run.code, 0);
    std::istringstream lines(run.err);
    int drawn = 0;
    for (std::string line; std::getline(lines, line, '\r');) {
      if (line.empty()) continue;
      ++drawn;
      EXPECT_LT(line.find("\033[K"), columns) << line;
    }
    EXPECT_GT(drawn, 1);
    EXPECT_EQ(run.err.find('\n'), run.err.npos);
  }
}

// ---- Itself, and its models -------------------------------------------------------------------

TEST(SnfVersion, IsOneLineWithThePrecisionAndTheInstructions) {
  const Finished run = Snf()("--version");
  expect_success(run);
  EXPECT_TRUE(run.out.starts_with("snf " SNF_VERSION ", ")) << run.out;
  EXPECT_EQ(run.out.find('\n') + 1, run.out.size());
  const Json bench =
      Json::parse(Snf()("bench selfnorm_fc_mnist --steps 1 --batch-size 1 --json").out);
  expect_words(run.out, {sizeof(Real) == sizeof(double) ? "double" : "float",
                         "built for " + bench["instructions"].get<std::string>()});
}

// MNIST itself, where the demo has fetched it: only beside its figures do the paper's stand.
const std::string mnist = BACKFLOW_SOURCE_ROOT "/data/mnist";
const bool has_mnist = fs::exists(mnist + "/t10k-images-idx3-ubyte");

TEST(ChangedModel, IsDescribedAsItIsAndNotComparedWithThePaper) {
  const std::string quickly = " --epochs 1 --limit-batches 1 --out run";
  const auto says = [&](const Snf& snf, const std::string& arguments) {
    const Finished run = snf(arguments);
    expect_success(run);
    return run.out;
  };
  const Snf as_it_is;
  const std::string data = has_mnist ? " --data " + mnist : "";
  const std::string before = says(as_it_is, "train selfnorm_fc_mnist --lr 0.01" + data + quickly);
  expect_words(before, {"selfnorm_fc_mnist: 2 self-normalizing FC, smooth leaky ReLU; "});
  const bool compared = before.find("paper, converged: test NLL 947.1 +- 0.2") != before.npos;
  EXPECT_EQ(compared, has_mnist) << before;
  const std::string evaluation = says(as_it_is, "evaluate selfnorm_fc_mnist --limit 1" + last);
  EXPECT_EQ(evaluation.find("paper, converged") != evaluation.npos, has_mnist);

  const Snf snf;
  const std::string changed =
      says(snf, "train selfnorm_fc_mnist --set layer=exact,num_layers=3" + data + quickly);
  expect_words(changed, {"selfnorm_fc_mnist: 3 exact FC, smooth leaky ReLU; "});
  EXPECT_EQ(changed.find("paper"), changed.npos) << changed;
  EXPECT_EQ(says(snf, "evaluate selfnorm_fc_mnist --limit 1" + last).find("paper"),
            std::string::npos);
}

// Where gnuplot is, the curve has the paper's line or none.
TEST(ChangedModel, HasNoLineOfThePapersInItsCurve) {
  const Snf snf;
  fs::create_directory(snf / "bin");
  snf.write("bin/gnuplot", "#!/bin/sh\n/bin/cat > \"" + (snf / "script").string() + "\"\n");
  fs::permissions(snf / "bin/gnuplot", fs::perms::owner_all);
  const auto plotted = [&](const std::string& more) {
    fs::remove_all(snf / "run");
    snf(train + more, {.path = (snf / "bin").string()});
    return read_file(snf / "script").find("paper") != std::string::npos;
  };
  const std::string data = has_mnist ? " --data " + mnist : "";
  EXPECT_EQ(plotted("--lr 0.01" + data), has_mnist);
  EXPECT_FALSE(plotted("--set layer=exact" + data));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

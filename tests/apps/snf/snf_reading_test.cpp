// Files that the program reads: somebody else's text until proved otherwise.
#include <fcntl.h>

#include "backflow/apps/files/safetensors.h"
#include "backflow/tests/apps/files/tar_files.h"
#include "backflow/tests/apps/snf/program_output.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

const std::string train = "train selfnorm_fc_mnist --out run ";
const std::string last = "run/checkpoints/last.safetensors";
const std::string best = "run/checkpoints/best.safetensors";

std::string as_file(const std::string& header, const std::string& data = "") {
  const std::uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), sizeof length) + header + data;
}

// A run of two epochs, whose files the tests damage.
class Reading : public testing::Test {
 protected:
  Reading() {
    expect_success(snf(train + "--epochs 2 --batch-size 10 --lr 0.01 --set warmup_epochs=0"));
    good_ = load_safetensors(snf / last);
  }

  void save(const std::function<void(TensorFile&)>& change) const {
    TensorFile file = good_;
    change(file);
    save_safetensors(snf / last, file);
  }
  // Without waiting: nothing large is read, made or asked for.
  void expect_refused_at_once(const std::string& arguments, const Words& words) const {
    const auto start = std::chrono::steady_clock::now();
    expect_refused(snf, arguments, words);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(5)) << arguments;
  }
  // By every command that reads a checkpoint.
  void expect_checkpoint_refused(const Words& words) const {
    const std::string of = " selfnorm_fc_mnist --checkpoint " + last;
    expect_refused_at_once("evaluate" + of, words);
    expect_refused_at_once("sample --out x.png" + of, words);
    expect_refused_at_once("reconstruct --out x.png" + of, words);
    expect_refused_at_once("filters --out x" + of, words);
    expect_refused_at_once(train + "--resume --epochs 3", words);
  }

  Snf snf;
  TensorFile good_;
};

TEST_F(Reading, DeepConfigurationsAreRefusedInALine) {
  for (const std::string& deep :
       {std::string(100'000, '['), "{\"lr\":" + std::string(100'000, '['),
        "{\"lr\":" + std::string(100'000, '[') + std::string(100'000, ']') + "}"}) {
    save([&](TensorFile& file) { file.metadata["config"] = deep; });
    expect_checkpoint_refused({"[" + last + "] the configuration is damaged"});
  }
  save([](TensorFile&) {});
  snf.write("run/config.json", "{\"lr\":" + std::string(100'000, '['));
  expect_refused(snf, train + "--resume --epochs 3",
                 {"[run/config.json] the configuration is damaged", "[lr]", "a JSON array"});
}

TEST_F(Reading, AValueIsNeverQuotedBeyondALine) {
  const std::string longest(100'000, 'x');
  save([&](TensorFile& file) { file.metadata["config"] = "{\"lr\":\"" + longest + "\"}"; });
  const Finished config = snf("evaluate selfnorm_fc_mnist --checkpoint " + last);
  EXPECT_LT(config.err.size(), 400u);
  expect_words(config.err, {"[lr] expected a number, got 'xxx", "...' (100000 bytes)"});
  save([&](TensorFile& file) { file.metadata["experiment"] = longest; });
  EXPECT_LT(snf("evaluate selfnorm_fc_mnist --checkpoint " + last).err.size(), 400u);
  save([&](TensorFile& file) { file.tensors[longest] = Tensor::zeros({1}); });
  EXPECT_LT(snf("evaluate selfnorm_fc_mnist --checkpoint " + last).err.size(), 400u);
  save([&](TensorFile& file) { file.metadata["epoch"] = longest; });
  EXPECT_LT(snf(train + "--resume --epochs 3").err.size(), 400u);
}

TEST_F(Reading, AModelLargerThanItsFileIsNotMade) {
  const auto with_config = [&](const std::string& changes) {
    std::string config = good_.metadata.at("config");
    config.replace(config.find('{'), 1, "{" + changes + ",");
    return as_file(R"({"__metadata__":{"experiment":"selfnorm_fc_mnist","channels":"1",)"
                   R"("height":"64","width":"64","config":)" +
                   Json(R"({)" + changes + "}").dump() + "}}");
  };
  for (const std::string changes :
       {R"("num_layers": 1000)", R"("init": "orthogonal")",
        R"("architecture": "cnn", "num_blocks": 6, "block_size": 1000, "layer": "exponential")",
        R"("architecture": "cnn", "activation": "spline", "kernel_size": 1, "block_size": 9)",
        R"("architecture": "glow", "width": 65536, "layer": "conv1x1")"}) {
    snf.write("huge.safetensors", with_config(changes));
    expect_refused_at_once("evaluate selfnorm_fc_mnist --checkpoint huge.safetensors",
                           {"[huge.safetensors] its tensors hold 0 values", "no memory"});
  }
}

TEST_F(Reading, WhatIsNoFileIsLookedAtAndNotRead) {
  ASSERT_EQ(mkfifo((snf / "pipe").c_str(), 0600), 0);
  const std::string evaluate = "evaluate selfnorm_fc_mnist --checkpoint ";
  expect_refused_at_once(evaluate + "/dev/zero", {"[/dev/zero] cannot read", "found a device"});
  expect_refused_at_once(evaluate + "pipe", {"[pipe] cannot read", "found a pipe"});
  for (const std::string name : {"run/config.json", "run/metrics.csv"}) {
    const std::string good = read_file(snf / name);
    fs::remove(snf / name);
    fs::create_symlink("/dev/zero", snf / name);
    expect_refused(snf, train + "--resume --epochs 3", {"[" + name + "] cannot read"});
    fs::remove(snf / name);
    snf.write(name, good);
  }
  const int sparse = open((snf / "sparse").c_str(), O_WRONLY | O_CREAT, 0600);
  ASSERT_EQ(ftruncate(sparse, off_t{3} << 30), 0);
  close(sparse);
  const Finished checkpoint =
      snf.run({"/bin/sh", "-c", "ulimit -v 2000000; exec " SNF_PROGRAM " " + evaluate + "sparse"});
  EXPECT_EQ(checkpoint.code, 2);
  expect_words(checkpoint.err, {"[sparse] the header is not valid JSON"});
  fs::remove(snf / "data/mnist/train-images-idx3-ubyte");
  fs::rename(snf / "sparse", snf / "data/mnist/train-images-idx3-ubyte");
  const Finished images = snf("train selfnorm_fc_mnist --out other");
  EXPECT_EQ(images.code, 2);
  expect_words(images.err, {"train-images-idx3-ubyte] wrong magic number 0x00000000"});
}

// ---- Damage -----------------------------------------------------------------------------------

TEST_F(Reading, EveryBitOfAHundredThatFlipsIsSeen) {
  const std::string good = read_file(snf / last);
  for (int i = 0; i < 100; ++i) {
    std::string bad = good;
    const auto at = static_cast<std::size_t>(Random(i).uniform({1})[0] * Real(good.size() - 1));
    bad[at] = static_cast<char>(bad[at] ^ (1 << i % 8));
    snf.write(last, bad);
    const Finished run = i % 2 ? snf(train + "--resume --epochs 3")
                               : snf("evaluate selfnorm_fc_mnist --checkpoint " + last);
    EXPECT_EQ(run.code, 2) << "byte " << at << ": " << run.out;
    EXPECT_EQ(run.err.find('\n') + 1, run.err.size()) << run.err;
  }
}

TEST_F(Reading, ADigitThatChangedInTheMetadataIsSeen) {
  std::string bytes = read_file(snf / last);
  const std::size_t at = bytes.find("\"epoch\":\"2\"");
  ASSERT_NE(at, bytes.npos);
  bytes[at + 9] = '3';
  snf.write(last, bytes);
  expect_checkpoint_refused({"[" + last + "] the metadata has the checksum", "damaged"});
}

TEST_F(Reading, FilesWithoutChecksumsLoad) {
  save([](TensorFile&) {});
  expect_success(snf("evaluate selfnorm_fc_mnist --checkpoint " + last));
  expect_success(snf(train + "--resume --epochs 3"));
}

TEST_F(Reading, NumbersOutOfTheirRangeAreRefused) {
  const std::vector<std::array<std::string, 3>> bad = {
      {"optimizer_steps", "-1", "expected at least 0"},
      {"optimizer_steps", "9223372036854775807", "expected at most"},
      {"epoch", "9223372036854775807", "no place in a run"},
      {"batch", "-9223372036854775808", "no place in a run"},
      {"best_epoch", "-1", "no place in a run"},
      {"best_epoch", "4", "only 2 epochs are over"},
      {"objective_sum", "1e999", "should be a number"},
      {"data_checksum", "-1", "should be a number"}};
  for (const auto& [key, value, words] : bad) {
    save([&, &key = key, &value = value](TensorFile& file) { file.metadata[key] = value; });
    expect_refused(snf, train + "--resume --epochs 3", {"[" + last + "]", words});
  }
}

TEST_F(Reading, JunkInTheTableIsNamedByItsLine) {
  const std::string table = read_file(snf / "run/metrics.csv");
  for (const std::string junk : {"junk\n", "3,1,2\n", "\n", "3,a,b,c,d,e,f,g\n"}) {
    snf.write("run/metrics.csv", table + junk);
    expect_refused(snf, train + "--resume --epochs 3", {"[run/metrics.csv:4] found \""});
  }
}

TEST_F(Reading, ChangedImagesForValidationOrTestingAreNoticed) {
  const std::string train_file = "data/mnist/train-images-idx3-ubyte",
                    test_file = "data/mnist/t10k-images-idx3-ubyte";
  const auto change_last_pixel = [&](const std::string& name) {
    std::string bytes = read_file(snf / name);
    bytes.back() = static_cast<char>(bytes.back() ^ 1);
    snf.write(name, bytes);
  };
  change_last_pixel(test_file);
  expect_refused(snf, train + "--resume --epochs 3", {"[data/mnist] not the test images"});
  change_last_pixel(test_file);
  change_last_pixel(train_file);
  expect_refused(snf, train + "--resume --epochs 3", {"[data/mnist] not the validation images"});
  change_last_pixel(train_file);
  expect_success(snf(train + "--resume --epochs 3"));
}

TEST_F(Reading, AnotherKernelOfOpenBlasIsWarnedOf) {
  const std::string here = good_.metadata.at("blas_kernel");
  save([](TensorFile& file) { file.metadata["blas_kernel"] = "Elsewhere\x1b[2J"; });
  const Finished run = snf(train + "--resume --epochs 3");
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.err,
            "warning: this run was made with OpenBLAS's kernels for "
            "\"Elsewhere\\x1b[2J\", here they are those for " +
                here + ": it goes on, but not with the same bits\n");
  expect_success(snf(train + "--resume --epochs 4"));
}

// ---- Files of others --------------------------------------------------------------------------

// The authors' ActNorm keeps its flag as a vector of one whole number.
TEST(StateDicts, OfAGlowLoadsAsTheAuthorsSaveIt) {
  const Snf snf;
  snf.write_images("data/mnist", 28);
  const std::string small = " --set num_blocks=2,block_size=2,width=4 ";
  expect_success(snf("train conv1x1_glow_mnist --out run --epochs 1 --batch-size 10" + small));
  const TensorFile ours = load_safetensors(snf / best);
  std::string header, data;
  for (const auto& [name, tensor] : ours.tensors) {
    if (name.starts_with("adam.")) continue;
    const bool flag = name.ends_with("initialized");
    const std::size_t begin = data.size();
    if (flag) {
      const std::int64_t one = 1;
      data.append(reinterpret_cast<const char*>(&one), sizeof one);
    } else {
      data.append(reinterpret_cast<const char*>(tensor.data()), tensor.size() * sizeof(Real));
    }
    Json sizes = Json::array();
    for (const Index size : tensor.shape()) sizes.push_back(size);
    header += (header.empty() ? "{" : ",") + Json(name).dump() + R"(:{"dtype":")" +
              (flag                ? "I64"
               : sizeof(Real) == 4 ? "F32"
                                   : "F64") +
              R"(","shape":)" + (flag ? "[1]" : sizes.dump()) + R"(,"data_offsets":[)" +
              std::to_string(begin) + "," + std::to_string(data.size()) + "]}";
  }
  // What means nothing to us is never decoded, whatever it is.
  header += R"(,"0.distribution.empty":{"dtype":"F8_E4M3","shape":[1,1,1,1,1,1,1],)"
            R"("data_offsets":[)" +
            std::to_string(data.size()) + "," + std::to_string(data.size() + 1) + "]}";
  ASSERT_NE(header.find("initialized"), header.npos);
  snf.write("theirs.safetensors", as_file(header + "}", data + "x"));
  const auto nll = [&](const std::string& file, const std::string& more) {
    const Finished run =
        snf("evaluate conv1x1_glow_mnist --json --limit 5 --checkpoint " + file + more);
    expect_success(run);
    return Json::parse(run.out)["nll_nats"];
  };
  EXPECT_EQ(nll("theirs.safetensors", small), nll(best, ""));
}

TEST(GzipFiles, OfSeveralMembersAndWithZerosBehindLoad) {
  const Snf snf;
  expect_success(snf(train + "--epochs 1 --limit-batches 2"));
  const std::string file = "data/mnist/train-images-idx3-ubyte", raw = read_file(snf / file);
  const std::string members =
      gzip(raw.substr(0, 100)) + gzip("") + gzip(raw.substr(100)) + std::string(700, '\0');
  fs::remove(snf / file);
  snf.write(file + ".gz", members);
  expect_success(snf("train selfnorm_fc_mnist --out again --epochs 1 --limit-batches 2"));
  EXPECT_TRUE(read_file(snf / last) == read_file(snf / "again/checkpoints/last.safetensors"));
  snf.write(file + ".gz", members + "x");
  expect_refused(snf, "train selfnorm_fc_mnist --out third",
                 {"found more bytes after the 60 images"});
  snf.write(file + ".gz", members.substr(0, members.size() - 704));
  expect_refused(snf, "train selfnorm_fc_mnist --out third", {"gzip data is truncated"});
}

// ---- Whose images -----------------------------------------------------------------------------

const std::string debians = "/usr/share/datasets/fashion-mnist";

TEST(Images, OfAnotherDataSetAreKnownByTheirChecksum) {
  if (!fs::is_directory(debians)) GTEST_SKIP() << "needs Debian's dataset-fashion-mnist";
  const Snf snf;
  expect_refused(snf, train + "--data " + debians,
                 {"[" + debians +
                  "] these are images of Fashion-MNIST, expected those of MNIST; "
                  "say --dataset fashion_mnist"});
  const Finished run =
      snf(train + "--epochs 1 --limit-batches 1 --dataset fashion_mnist --data " + debians);
  expect_success(run);
  expect_words(run.out, {"images: Fashion-MNIST, 50000 training"});
  EXPECT_EQ(run.out.find("paper"), run.out.npos);
  const Finished evaluation = snf("evaluate selfnorm_fc_mnist --limit 10 --checkpoint " + best);
  expect_success(evaluation);
  expect_words(evaluation.out, {"10 test images of Fashion-MNIST"});
  EXPECT_EQ(evaluation.out.find("paper"), evaluation.out.npos);
}

// ---- Names that would speak to the terminal ---------------------------------------------------

TEST(Names, FromFilesNeverReachTheTerminalRaw) {
  const Snf snf;
  expect_success(snf(train + "--epochs 1 --limit-batches 1"));
  const TensorFile good = load_safetensors(snf / last);
  const std::string evil = "a\x1b[2J\x1b[1A\rsnf: all is well\x07\xc2\x9b\x7f\xe2\x80\xae";
  const std::string shown = R"(a\x1b[2J\x1b[1A\rsnf: all is well\x07\x9b\x7f\u202e)";
  const auto expect_shown = [&](const Finished& run) {
    EXPECT_EQ(run.code, 2);
    expect_words(run.err, {"all is well"});
    EXPECT_NE(run.err.find(shown), run.err.npos) << run.err;
    for (const char c : run.err.substr(0, run.err.size() - 1))
      EXPECT_GE(static_cast<unsigned char>(c), 0x20) << run.err;
  };
  const std::string evaluate = "evaluate selfnorm_fc_mnist --checkpoint ";
  for (const std::string& name : {evil, std::string("adam.m.") + evil}) {
    TensorFile file = good;
    file.tensors[name] = Tensor::zeros({1});
    save_safetensors(snf / "x.safetensors", file);
    if (name == evil) expect_shown(snf(evaluate + "x.safetensors"));
  }
  for (const std::string key : {"experiment", "epoch"}) {
    TensorFile file = good;
    file.metadata[key] = evil;
    save_safetensors(snf / last, file);
    expect_shown(snf(train + "--resume --epochs 2"));
  }
  snf.write("x.safetensors", as_file("{" + Json(evil).dump() + ":3}"));
  expect_shown(snf(evaluate + "x.safetensors"));

  fs::create_directories(snf / "data/imagenet32");
  for (const std::string name : {"train", "valid"})
    snf.write("data/imagenet32/" + name + "_32x32.tar",
              tar_member(evil + ".png", "no picture") + std::string(1024, '\0'));
  expect_shown(snf("train selfnorm_glow_imagenet --out other"));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

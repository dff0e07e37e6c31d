// Whatever is wrong is said in one line, with exit code 2, before anything is changed.
#include <limits>

#include "backflow/apps/files/safetensors.h"
#include "backflow/tests/apps/snf/program.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

namespace fs = std::filesystem;

const std::string train = "train selfnorm_fc_mnist --out run ";
const std::string checkpoint = " --checkpoint run/checkpoints/last.safetensors ";

struct Refusal {
  std::string arguments;
  Words words;
};

void expect_all_refused(const Snf& snf, const std::vector<Refusal>& refusals) {
  for (const auto& [arguments, words] : refusals) expect_refused(snf, arguments, words);
}

// A run of one step, whose checkpoints the tests damage.
class BadCheckpoint : public testing::Test {
 protected:
  BadCheckpoint() {
    expect_success(snf(train + "--epochs 1 --limit-batches 1"));
    good_ = load_safetensors(last_);
    bytes_ = read_file(last_);
  }
  void save(const std::function<void(TensorFile&)>& damage) {
    TensorFile file = good_;
    damage(file);
    save_safetensors(last_, file);
  }
  void save_header(const std::string& from, const std::string& to) {
    std::string bytes = bytes_;
    const auto found = bytes.find(from);
    ASSERT_NE(found, bytes.npos);
    ASSERT_EQ(from.size(), to.size());
    snf.write("run/checkpoints/last.safetensors", bytes.replace(found, from.size(), to));
  }
  // By every command that reads it.
  void expect_damage_refused(const Words& words) {
    expect_all_refused(snf, {{"evaluate selfnorm_fc_mnist" + checkpoint, words},
                             {"sample selfnorm_fc_mnist --out x.png" + checkpoint, words},
                             {train + "--resume --epochs 2", words}});
  }

  Snf snf;
  const fs::path last_ = snf / "run/checkpoints/last.safetensors";
  TensorFile good_;
  std::string bytes_;
};

TEST(BadCommandLine, UnknownWordsAreAnsweredWithASuggestion) {
  expect_all_refused(
      Snf(),
      {{"", {"subcommand is required", "see 'snf --help'"}},
       {"trian", {"there is no 'trian'", "did you mean 'train'?", "see 'snf --help'"}},
       {"--hepl", {"there is no '--hepl'", "did you mean '--help'?"}},
       {train + "--epoch 3", {"'--epoch'", "'--epochs'?", "see 'snf train --help'"}},
       {train + "more", {"there is no 'more'", "see 'snf train --help'"}},
       {"list more", {"there is no 'more'", "see 'snf list --help'"}},
       {"train selfnrm_fc_mnist", {"'selfnrm_fc_mnist'", "'selfnorm_fc_mnist'?", "snf list"}},
       {"evaluate x --checkpoint y", {"there is no 'x'", "did you mean"}},
       {"sample x --checkpoint y --out z", {"there is no 'x'", "did you mean"}},
       {"bench exact_mnist", {"'exact_mnist'", "did you mean 'exact_fc_mnist'?"}},
       {train + "--set learning_rate=1", {"--set", "'learning_rate'", "Known: dataset, "}},
       {train + "--set batchsize=1", {"did you mean 'batch_size'?"}},
       {train + "--set experiment=exact_fc_mnist", {"[experiment]", "cannot be set"}}});
}

TEST(BadCommandLine, WhatIsMissingIsNamed) {
  expect_all_refused(Snf(), {{"train", {"experiment is required", "see 'snf train --help'"}},
                             {"evaluate", {"required", "see 'snf evaluate --help'"}},
                             {"evaluate selfnorm_fc_mnist", {"[--checkpoint] found no"}},
                             {"sample selfnorm_fc_mnist --checkpoint x", {"--out is required"}},
                             {"sample selfnorm_fc_mnist --out x", {"[--checkpoint] found no"}},
                             {"bench", {"experiment is required"}},
                             {train + "--epochs", {"[--epochs] expected exactly one value"}},
                             {train + "--set", {"[--set] expected exactly one value"}},
                             {train + "--data", {"[--data] expected exactly one value"}},
                             {train + "--lr 1 --lr 2", {"[--lr] expected exactly one value"}},
                             {train + "--set lr", {"[--set] expected KEY=VALUE, got 'lr'"}},
                             {train + "--quiet=3", {"[--quiet] expected no value"}}});
}

TEST(BadCommandLine, BadValuesAreNamedWithWhatIsExpected) {
  const std::string evaluate = "evaluate selfnorm_fc_mnist --checkpoint x ";
  const std::string sample = "sample selfnorm_fc_mnist --checkpoint x --out y ";
  const std::string bench = "bench selfnorm_fc_mnist ";
  const std::string scaling = "scaling selfnorm_cnn_mnist ";
  expect_all_refused(
      Snf(),
      {{train + "--epochs 0", {"[epochs] expected 1 to", "got 0"}},
       {train + "--epochs -1", {"[epochs] expected 1 to", "got -1"}},
       {train + "--epochs 1.5", {"[epochs] expected a whole number, got '1.5'"}},
       {train + "--epochs=", {"[--epochs] expected exactly one value"}},
       {train + "--batch-size 0", {"[batch_size] expected 1 to", "got 0"}},
       {train + "--batch-size many", {"[batch_size] expected a whole number, got 'many'"}},
       {train + "--batch-size 9223372036854775807", {"[batch_size] expected 1 to"}},
       {train + "--lr 0", {"[lr] expected a positive number, got 0"}},
       {train + "--lr nan", {"[lr] expected a number, got 'nan'"}},
       {train + "--lr fast", {"[lr] expected a number, got 'fast'"}},
       {train + "--seed -1", {"[seed] expected at least 0, got -1"}},
       {train + "--seed 1e3", {"[seed] expected a whole number, got '1e3'"}},
       {train + "--limit-batches -1", {"[limit_batches] expected 0 to", "got -1"}},
       {train + "--threads 0", {"[--threads] expected a whole number from 1 to 1024, got '0'"}},
       {train + "--threads two", {"[--threads] expected a whole number", "got 'two'"}},
       {train + "--threads 1000000", {"[--threads] expected a whole number from 1 to 1024"}},
       {train + "--set shuffle=yes", {"[shuffle] expected true or false, got 'yes'"}},
       {train + "--set layer=linear", {"[layer] expected one of exact", "got 'linear'"}},
       {train + "--set num_layers=1000000000", {"[num_layers] expected 1 to 1000"}},
       {train + "--set =1", {"unknown key ''"}},
       {evaluate + "--split testing", {"[--split] expected one of test, train, validation"}},
       {evaluate + "--noise none", {"[--noise] expected one of midpoint, uniform, got 'none'"}},
       {evaluate + "--limit 0", {"[--limit] expected a whole number from 1", "got '0'"}},
       {evaluate + "--limit -3", {"[--limit] expected a whole number from 1", "got '-3'"}},
       {evaluate + "--threads -2", {"[--threads] expected a whole number", "got '-2'"}},
       {sample + "--count 0", {"[--count] expected a whole number from 1", "got '0'"}},
       {sample + "--count 1.5", {"[--count] expected a whole number", "got '1.5'"}},
       {sample + "--count 9000000000000000000", {"[--count] expected a whole number from 1 to"}},
       {sample + "--temperature -1", {"[--temperature] expected a number from 0", "got '-1'"}},
       {sample + "--temperature inf", {"[--temperature] expected a number", "got 'inf'"}},
       {sample + "--temperature nan", {"[--temperature] expected a number", "got 'nan'"}},
       {sample + "--inverse both", {"[--inverse] expected one of exact, learned, got 'both'"}},
       {sample + "--seed -1", {"[--seed] expected a whole number from 0", "got '-1'"}},
       {bench + "--steps 0", {"[--steps] expected a whole number from 1", "got '0'"}},
       {bench + "--steps x", {"[--steps] expected a whole number", "got 'x'"}},
       {bench + "--batch-size 0", {"[--batch-size] expected a whole number from 1", "got '0'"}},
       {"timescaling --max-dim 63", {"[--max-dim] expected a whole number from 64 to 4064"}},
       {"timescaling --max-dim 5000", {"[--max-dim] expected a whole number", "got '5000'"}},
       {"timescaling --max-dim all", {"[--max-dim] expected a whole number", "got 'all'"}},
       {"timescaling --batch-size 0", {"[--batch-size] expected a whole number from 1"}},
       {"timescaling --out data/mnist/train-images-idx3-ubyte",
        {"[data/mnist/train-images-idx3-ubyte] cannot make the directory", "--out"}},
       {"scaling exact_mnist", {"'exact_mnist'", "did you mean 'exact_fc_mnist'?"}},
       {scaling + "--bandwidth 0", {"[--bandwidth] expected a number from 1e-06 to", "got '0'"}},
       {scaling + "--latency -1", {"[--latency] expected a number from 0 to", "got '-1'"}},
       {scaling + "--max-ranks 0", {"[--max-ranks] expected a whole number from 1 to 4096"}},
       {scaling + "--batch-size 0", {"[--batch-size] expected a whole number from 1"}},
       {scaling + "--set shards=3",
        {"[shards] expected a power of two", "got 3", "--set shards=S"}},
       {scaling + "--batch-size 4 --set shards=8", {"[shards] expected", "got 8"}},
       {scaling + "--measured 2", {"[--measured] expected RANKS=MILLISECONDS", "got '2'"}},
       {scaling + "--measured 2=fast", {"such as 2=41.5, got '2=fast'"}},
       {scaling + "--measured 2=0", {"[--measured] expected RANKS=MILLISECONDS", "got '2=0'"}},
       {scaling + "--measured x=2", {"[--measured] expected RANKS=MILLISECONDS", "got 'x=2'"}},
       {scaling + "--measured 3=2",
        {"[--measured] expected a number of ranks that is predicted",
         "a power of two from 1 to 1024, got 3"}},
       {scaling + "--measured 8=2 --set shards=4", {"a power of two from 1 to 4, got 8"}},
       {scaling + "--measured 2=2 --measured 2=3", {"[--measured] expected one time for 2 ranks"}},
       {scaling + "--out data/mnist/train-images-idx3-ubyte",
        {"[data/mnist/train-images-idx3-ubyte] cannot make the directory", "--out"}}});
}

TEST(BadData, AMissingDirectoryIsAnsweredWithTheCommandThatFetchesIt) {
  const Snf snf;
  const std::string script = BACKFLOW_SOURCE_ROOT "/apps/data/fetch_mnist.sh";
  EXPECT_EQ(access(script.c_str(), X_OK), 0);
  expect_refused(snf, train + "--data nowhere",
                 {"[nowhere] no such directory", "fetch the data with: " + script + " nowhere",
                  "or name their directory with --data"});
  fs::create_directory(snf / "empty");
  expect_refused(snf, train + "--data empty",
                 {"[empty] no file train-images-idx3-ubyte", script + " empty"});
  fs::remove(snf / "data/mnist/t10k-images-idx3-ubyte");
  expect_refused(snf, train, {"no file t10k-images-idx3-ubyte", script + " data/mnist"});
}

TEST(BadData, DamagedFilesAreNamed) {
  const std::string good = idx_file(60, 6, 6), packed = gzip(good);
  const std::vector<std::tuple<std::string, std::string, std::string>> files = {
      {"", good.substr(0, 1000), "truncated"},
      {"", good.substr(0, 10), "truncated"},
      {"", "", "truncated"},
      {"", good + "x", "found more bytes after the 60 images"},
      {"", idx_header(60, 6, 6, 0x801) + good.substr(16), "wrong magic number 0x00000801"},
      {"", idx_header(4294967295u, 65535, 65535), "truncated"},
      {"", packed.substr(0, packed.size() - 20), "truncated"},
      {".gz", packed.substr(0, packed.size() / 2), "truncated"},
      {".gz", gzip(good.substr(0, 1000)), "truncated"},
      {".gz", gzip(idx_header(60, 6, 6, 0x801) + good.substr(16)), "wrong magic number 0x00000801"},
      {".gz", packed.substr(0, 30) + "!" + packed.substr(31), "corrupt"}};
  for (const auto& [suffix, contents, words] : files) {
    const Snf snf;
    fs::remove(snf / "data/mnist/train-images-idx3-ubyte");
    const std::string name = "data/mnist/train-images-idx3-ubyte" + suffix;
    snf.write(name, contents);
    expect_refused(snf, train, {"[" + name + "]", words});
  }
}

TEST(BadData, TooFewImagesOrOfTwoSizesAreRefused) {
  const Snf snf;
  snf.write("data/mnist/train-images-idx3-ubyte", idx_file(5, 6, 6));
  expect_refused(snf, train, {"found 5 images", "at least 6"});
  snf.write("data/mnist/train-images-idx3-ubyte", idx_file(60, 7, 6));
  expect_refused(snf, train, {"training images are 7 x 6", "test images are 6 x 6"});
}

TEST_F(BadCheckpoint, MissingFilesAndDirectoriesAreNamed) {
  for (const std::string command :
       {"evaluate selfnorm_fc_mnist", "sample selfnorm_fc_mnist --out x"}) {
    expect_refused(snf, command + " --checkpoint none.safetensors",
                   {"[none.safetensors] cannot read: No such file", "check the path"});
    expect_refused(snf, command + " --checkpoint run",
                   {"[run] cannot read", "expected a file, found a directory"});
  }
}

TEST_F(BadCheckpoint, BrokenFilesAreRefused) {
  const auto header_length = [](std::uint64_t length) {
    return std::string(reinterpret_cast<const char*>(&length), sizeof length);
  };
  const std::vector<std::pair<std::string, std::string>> files = {
      {"", "expected at least 8"},
      {bytes_.substr(0, 5), "the file has 5 bytes, expected at least 8"},
      {bytes_.substr(0, 100), "the header claims"},
      {bytes_.substr(0, bytes_.size() - 1), "as the file holds no more; was it copied whole?"},
      {bytes_ + "x", "found 1 trailing bytes"},
      {header_length(UINT64_MAX) + bytes_.substr(8), "the header claims 18446744073709551615"},
      {header_length(1) + bytes_.substr(8), "the header is not valid JSON"},
      {read_file(snf / "run/config.json"), "the header claims"},
      {read_file(snf / "run/reconstruction.png"), "the header claims"}};
  for (const auto& [contents, words] : files) {
    snf.write("run/checkpoints/last.safetensors", contents);
    expect_damage_refused({"[run/checkpoints/last.safetensors]", words});
  }
}

TEST_F(BadCheckpoint, OffsetsThatOverlapOrLeaveTheFileAreRefused) {
  const std::string size = std::to_string(36 * sizeof(Real));  // of the first tensor, 4.bias_fwd
  save_header("\"data_offsets\":[0," + size + "]", "\"data_offsets\":[4," + size + "]");
  expect_damage_refused({"[run/checkpoints/last.safetensors]", "4.bias_fwd", "bytes of data"});
  save_header("\"shape\":[36]", "\"shape\":[99]");
  expect_damage_refused({"4.bias_fwd", "expected", "for the shape (99)"});
  save_header("\"data_offsets\":[0,", "\"data_offsets\":[9,");
  expect_damage_refused({"4.bias_fwd"});
}

TEST_F(BadCheckpoint, WrongTensorsAreNamed) {
  const std::string file = "[run/checkpoints/last.safetensors]";
  save([](TensorFile& f) { f.tensors["6.weight_fwd"] = Tensor::zeros({36, 35}); });
  expect_damage_refused({file, "'6.weight_fwd' has the shape (36, 35), expected (36, 36)"});
  save([](TensorFile& f) { f.tensors.erase("6.weight_inv"); });
  expect_damage_refused({file, "'6.weight_inv' is missing", "expected the shape (36, 36)"});
  save([](TensorFile& f) {
    f.tensors["6.weight_inv"].mutable_data()[7] = std::numeric_limits<Real>::quiet_NaN();
  });
  expect_damage_refused({file, "'6.weight_inv' holds values that are not finite"});
  save([](TensorFile& f) { f.tensors["5.kernel"] = Tensor::zeros({3}); });
  expect_damage_refused({file, "'5.kernel'", "another experiment's?"});
}

TEST_F(BadCheckpoint, WrongMetadataIsNamed) {
  const std::string file = "[run/checkpoints/last.safetensors]";
  save([](TensorFile& f) { f.metadata["config"] = "{"; });
  expect_damage_refused({file, "the configuration is damaged"});
  save([](TensorFile& f) { f.metadata["config"] = R"({"num_layers": "two"})"; });
  expect_damage_refused({file, "[num_layers] expected a whole number, got 'two'"});
  save([](TensorFile& f) { f.metadata["experiment"] = "exact_fc_mnist"; });
  expect_damage_refused({file, "a checkpoint of 'exact_fc_mnist', expected 'selfnorm_fc_mnist'"});
  // The image is of another size than the tensors and the images.
  save([](TensorFile& f) { f.metadata["height"] = "4096", f.metadata["width"] = "4096"; });
  expect_refused(snf, "evaluate selfnorm_fc_mnist" + checkpoint, {"memory"});
  save([](TensorFile& f) { f.metadata["height"] = "0"; });
  expect_refused(snf, "evaluate selfnorm_fc_mnist" + checkpoint, {file, "make no sense"});
}

TEST_F(BadCheckpoint, OfOneExperimentIsNotTakenForAnother) {
  expect_refused(snf, "evaluate exact_fc_mnist" + checkpoint,
                 {"a checkpoint of 'selfnorm_fc_mnist', expected 'exact_fc_mnist'"});
}

TEST_F(BadCheckpoint, OfOtherImagesIsRefused) {
  snf.write_images("larger", 7);
  expect_refused(snf, "evaluate selfnorm_fc_mnist --data larger" + checkpoint,
                 {"[larger]", "the images are 1 x 7 x 7", "expects 1 x 6 x 6"});
}

TEST_F(BadCheckpoint, ASingularMatrixIsNamedAsTheReason) {
  save([](TensorFile& f) { f.tensors["4.weight_fwd"] = Tensor::zeros({36, 36}); });
  expect_refused(snf, "evaluate selfnorm_fc_mnist" + checkpoint,
                 {"[run/checkpoints/last.safetensors] no exact NLL", "(36, 36) matrix is singular",
                  "has the model diverged?"});
  expect_refused(snf, "sample selfnorm_fc_mnist --inverse exact --out x.png" + checkpoint,
                 {"(36, 36) matrix is singular"});
  const Finished run = snf("sample selfnorm_fc_mnist --inverse learned --out x.png" + checkpoint);
  expect_success(run);
  expect_words(run.out, {"learned against exact inverse: no number", "matrix is singular"});
}

TEST(BadOutput, AFileInTheWayIsNamed) {
  const Snf snf;
  snf.write("run", "a file");
  expect_refused(
      snf, train,
      {"[run] cannot make the run directory: Not a directory", "choose another with --out"});
  expect_refused(snf, train + "--resume", {"[run/checkpoints/last.safetensors]"});
}

TEST_F(BadCheckpoint, SamplesThatCannotBeWrittenAreRefused) {
  const std::string sample = "sample selfnorm_fc_mnist" + checkpoint + "--out ";
  expect_refused(snf, sample + "none/x.png",
                 {"[none/x.png] cannot write: No such file", "create its directory"});
  expect_refused(snf, sample + "run", {"[run] cannot write", "found a directory"});
  expect_refused(snf, sample + "run/config.json/x.png", {"cannot write: Not a directory"});
}

TEST_F(BadCheckpoint, ALearnedInverseThatIsNotThereIsRefused) {
  expect_success(snf("train exact_fc_mnist --out exact --epochs 1 --limit-batches 1"));
  const std::string sample =
      "sample exact_fc_mnist --checkpoint exact/checkpoints/last.safetensors --out x.png";
  expect_refused(snf, sample + " --inverse learned",
                 {"[--inverse]", "no learned inverse", "use exact"});
  expect_success(snf(sample));
}

TEST_F(BadCheckpoint, MoreMemoryThanThereIsIsSaidInOneLine) {
  expect_refused(snf, "bench selfnorm_fc_mnist --batch-size 100000000000",
                 {"out of memory: ", " GB asked for the shape (", "fewer images, smaller batches"});
}

TEST(BadOutput, AFullDiskFailsTheFirstWriteAlready) {
  const Snf snf;
  const Finished run = snf(train, {.largest_file = 300});
  EXPECT_EQ(run.code, 2);
  EXPECT_EQ(run.out, "");
  EXPECT_EQ(run.err.find('\n') + 1, run.err.size());
  expect_words(run.err, {"snf: [run/config.json] cannot write: File too large"});
  for (const auto& [name, file] : snf.snapshot("run")) EXPECT_EQ(file.second, "") << name;
}

TEST(BadOutput, AFullStandardOutputIsAnError) {
  const Snf snf;
  const Finished run = snf.run({"/bin/sh", "-c", SNF_PROGRAM " list >/dev/full"});
  EXPECT_EQ(run.code, 2);
  EXPECT_EQ(run.err, "snf: [standard output] cannot write; is the disk full?\n");
}

TEST(Divergence, NamesEpochStepAndOpAndKeepsTheLastGoodCheckpoint) {
  const Snf snf;
  const std::string huge = sizeof(Real) == sizeof(double) ? "1e300" : "1e30";
  const Finished run = snf(train + "--batch-size 10 --set warmup_epochs=0 --lr " + huge);
  EXPECT_EQ(run.code, 3);
  EXPECT_EQ(run.err.find('\n') + 1, run.err.size()) << run.err;
  expect_words(run.err, {"snf: selfnorm_fc_mnist diverged in epoch 1, step ", "'self_normalizing'",
                         "is not finite", "kept: run/checkpoints/last.safetensors"});
  expect_success(snf("evaluate selfnorm_fc_mnist" + checkpoint));
}

TEST(Divergence, OfTheEvaluationIsFoundToo) {
  const Snf snf;
  const Finished run = snf(train + "--limit-batches 1 --lr 1e300 --set warmup_epochs=0");
  EXPECT_EQ(run.code, 3);
  expect_words(run.err, {"snf: selfnorm_fc_mnist diverged in epoch 1, evaluation", "not finite"});
  expect_success(snf("evaluate selfnorm_fc_mnist" + checkpoint));
}

TEST(Divergence, IntoASingularMatrixIsOneToo) {
  const Snf snf;
  const std::string exact = "train exact_fc_mnist --out run --batch-size 10 --epochs ";
  expect_success(snf(exact + "1"));
  const fs::path last = snf / "run/checkpoints/last.safetensors";
  TensorFile file = load_safetensors(last);
  file.tensors["4.weight_fwd"] = Tensor::zeros({36, 36});
  save_safetensors(last, file);
  const Finished run = snf(exact + "2 --resume");
  EXPECT_EQ(run.code, 3);
  expect_words(run.err, {"snf: exact_fc_mnist diverged in epoch 2, step 1", "singular"});
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

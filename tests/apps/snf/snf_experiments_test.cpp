// The program on each kind of experiment and data set, as small as they get.
#include <nlohmann/json.hpp>
#include <regex>

#include "backflow/apps/data/datasets.h"
#include "backflow/apps/files/png.h"
#include "backflow/tests/apps/files/png_files.h"
#include "backflow/tests/apps/files/tar_files.h"
#include "backflow/tests/apps/snf/program.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Json = nlohmann::ordered_json;

const std::string tiny_glow =
    " --set num_blocks=2,block_size=1,width=4 --batch-size 5 --set warmup_epochs=0 ";
const std::string tiny_cnn =
    " --set num_blocks=2,block_size=1 --batch-size 10 --set warmup_epochs=0 ";

const std::string tiny_vector = " --set num_layers=2,depth=1,width=16 --batch-size 10 ";

std::string random_bytes(std::size_t count, std::uint64_t seed) {
  std::string bytes;
  for (Real u : Random(seed).uniform({static_cast<Index>(count)}).values())
    bytes += static_cast<char>(static_cast<int>(256 * u));
  return bytes;
}

// Records of a label and 3 x 32 x 32 bytes.
void write_cifar10(const Snf& snf) {
  constexpr std::size_t images = 5, size = 1 + 3 * 32 * 32;
  std::filesystem::create_directories(snf / "data/cifar10");
  for (const char* name : {"data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4",
                           "data_batch_5", "test_batch"}) {
    std::string bytes = random_bytes(images * size, std::hash<std::string>()(name) % 1000);
    for (std::size_t i = 0; i < images; ++i) bytes[i * size] = 3;  // the label
    snf.write("data/cifar10/" + std::string(name) + ".bin", bytes);
  }
}

std::string tar_of_images(int count, const std::string& prefix, std::uint64_t seed) {
  std::string tar;
  for (int i = 0; i < count; ++i)
    tar += tar_member(prefix + std::to_string(i) + ".png",
                      png_file(32, 32, random_bytes(3 * 32 * 32, seed + i)));
  return tar + tar_end();
}

void write_imagenet32(const Snf& snf) {
  std::filesystem::create_directories(snf / "data/imagenet32");
  snf.write("data/imagenet32/train_32x32.tar", tar_of_images(24, "train_32x32/", 100));
  snf.write("data/imagenet32/valid_32x32.tar", tar_of_images(4, "valid_32x32/", 200));
}

class SnfExperiments : public testing::Test {
 protected:
  Finished train(const std::string& experiment, const std::string& more) const {
    const Finished run = snf("train " + experiment + " --out run --epochs 2 " + more);
    expect_success(run);
    return run;
  }

  // What the other commands make of the checkpoint.
  void expect_all_commands(const std::string& experiment) const {
    const std::string of = " " + experiment + " --checkpoint run/checkpoints/best.safetensors ";
    const Finished result = snf("evaluate" + of + "--json");
    expect_success(result);
    EXPECT_TRUE(Json::parse(result.out)["nll_nats"].is_number());
    expect_success(snf("sample" + of + "--out samples.png --count 4 --temperature 0.5"));
    const Finished reconstruction = snf("reconstruct" + of + "--inverse exact --out back.png");
    expect_success(reconstruction);
    expect_words(reconstruction.out,
                 {"back.png", "test images, back by the exact inverse", "mean |difference|",
                  "of a pixel's range", "rows: the images, "});
    EXPECT_TRUE(std::filesystem::exists(snf / "samples.png"));
    EXPECT_TRUE(std::filesystem::exists(snf / "back.png"));
  }

  const Snf snf;
};

TEST_F(SnfExperiments, ConvolutionsTrainAndDoAllTheRest) {
  snf.write_images("data/mnist", 8);
  for (const std::string experiment :
       {"selfnorm_cnn_mnist", "exact_cnn_mnist", "emerging_cnn_mnist", "exponential_cnn_mnist"}) {
    SCOPED_TRACE(experiment);
    std::filesystem::remove_all(snf / "run");
    train(experiment, tiny_cnn);
    expect_all_commands(experiment);
  }
}

TEST_F(SnfExperiments, GlowTrainsAndDoesAllTheRest) {
  snf.write_images("data/mnist", 8);
  for (const std::string experiment :
       {"conv1x1_glow_mnist", "selfnorm_glow_mnist", "geco_selfnorm_glow_mnist"}) {
    SCOPED_TRACE(experiment);
    std::filesystem::remove_all(snf / "run");
    train(experiment, tiny_glow);
    expect_all_commands(experiment);
  }
}

TEST_F(SnfExperiments, FlowsOnVectorsTrainAndDoAllTheRest) {
  snf.write_images("data/mnist", 8);
  for (const std::string experiment : {"nice_mnist", "realnvp_mnist", "maf_mnist", "nsf_mnist"}) {
    SCOPED_TRACE(experiment);
    std::filesystem::remove_all(snf / "run");
    train(experiment, tiny_vector);
    expect_all_commands(experiment);
  }
}

TEST_F(SnfExperiments, FlowsOfWholeNumbersGiveProbabilitiesBesideTheLengthsOfFiles) {
  snf.write_images("data/mnist", 8);
  const Finished run = train("idf_mnist", tiny_vector);
  expect_words(run.out, {"NLLs are exact, and of the images' probability", "files of the same"});
  expect_all_commands("idf_mnist");
  const std::string of = " idf_mnist --checkpoint run/checkpoints/best.safetensors ";
  const Finished words = snf("evaluate" + of);
  expect_words(words.out, {"test images of data/mnist, no noise", "exact NLL of whole numbers",
                           "PNG of each", "gzip of each", "gzip of all together"});
  const Json json = Json::parse(snf("evaluate" + of + "--json").out);
  EXPECT_EQ(json["likelihood"], "exact probability");
  EXPECT_EQ(json["noise"], "no");
  EXPECT_GT(json["files_bits_per_dim"]["png"], 8.0);  // of random pixels, and it has a header
  // Noise would change it, if there were any; and what comes back is the same number.
  EXPECT_EQ(json["nll_nats"],
            Json::parse(snf("evaluate" + of + "--json --noise midpoint").out)["nll_nats"]);
  expect_words(snf("reconstruct" + of + "--out back.png").out, {"mean |difference| 0 of"});
  expect_refused(snf, "train idf_mnist --out x --set context=label", {"takes no context"});
}

// Of more than 64 pixels: of fewer the log-determinant is computed.
TEST_F(SnfExperiments, EstimatesAreCalledSoWhereverTheyAreShown) {
  snf.write_images("data/mnist", 10);
  const Finished run = train("residual_mnist", tiny_vector);
  expect_words(run.out, {"NLL est.: an unbiased estimate", "validation NLL est.", "test NLL est.",
                         "best: epoch 2, validation NLL est. ", ", test NLL est. ", " +- "});
  EXPECT_EQ(run.out.find("exact"), run.out.npos) << run.out;
  EXPECT_EQ(run.err, "");
  expect_all_commands("residual_mnist");
  const std::string of = " residual_mnist --checkpoint run/checkpoints/best.safetensors ";
  const Finished words = snf("evaluate" + of);
  expect_words(words.out, {"NLL, an unbiased estimate: ", " +- "});
  EXPECT_EQ(words.out.find("exact"), words.out.npos) << words.out;
  const Json json = Json::parse(snf("evaluate" + of + "--json").out);
  EXPECT_EQ(json["likelihood"], "unbiased estimate");
  EXPECT_GT(json["standard_error"], 0.0);
  EXPECT_EQ(words.out, snf("evaluate" + of).out);  // from the same random numbers
}

TEST_F(SnfExperiments, FlowsOfWholeNumbersAndEstimatesResumeWithTheSameBits) {
  snf.write_images("data/mnist", 10);
  for (const std::string experiment : {"idf_mnist", "residual_mnist"}) {
    SCOPED_TRACE(experiment);
    const std::string train = "train " + experiment + " --set schedule=constant" + tiny_vector;
    const std::string a = "a_" + experiment, b = "b_" + experiment;
    expect_success(snf(train + "--threads 1 --epochs 2 --out " + a));
    expect_success(snf(train + "--threads 3 --epochs 1 --out " + b));
    expect_success(snf("train " + experiment + " --epochs 2 --resume --out " + b));
    EXPECT_EQ(read_file(snf / (a + "/checkpoints/last.safetensors")),
              read_file(snf / (b + "/checkpoints/last.safetensors")));
  }
}

// ---- Labels as context --------------------------------------------------------------------------

// 60 for training and validation, 20 for testing; `shift` makes others of them.
void write_labels(const Snf& snf, int shift = 0) {
  for (const auto& [name, count] : {std::pair{"train", 60}, {"t10k", 20}}) {
    std::string labels;
    for (int i = 0; i < count; ++i) labels += static_cast<char>((i + shift) % 10);
    snf.write("data/mnist/" + std::string(name) + "-labels-idx1-ubyte", idx_labels(labels));
  }
}

TEST_F(SnfExperiments, LabelsAreAContext) {
  snf.write_images("data/mnist", 8);
  write_labels(snf);
  for (const std::string experiment : {"nice_mnist", "realnvp_mnist", "maf_mnist", "nsf_mnist"}) {
    SCOPED_TRACE(experiment);
    std::filesystem::remove_all(snf / "run");
    const Finished run = train(experiment, tiny_vector + "--set context=label");
    expect_words(run.out, {"given the label"});
    expect_all_commands(experiment);
    const std::string of = " " + experiment + " --checkpoint run/checkpoints/best.safetensors ";
    expect_words(snf("evaluate" + of).out, {"exact NLL of the images given their labels"});
    expect_words(snf("sample" + of + "--out x.png").out, {"80 samples", "a row for each label"});
  }
}

TEST_F(SnfExperiments, LabelsAreResumedWithTheSameBitsAndNoOthers) {
  snf.write_images("data/mnist", 8);
  write_labels(snf);
  const std::string train = "train maf_mnist --set context=label,schedule=constant" + tiny_vector;
  expect_success(snf(train + "--epochs 2 --out a"));
  expect_success(snf(train + "--epochs 1 --out b"));
  const std::string resume = "train maf_mnist --epochs 2 --out b --resume";
  write_labels(snf, 1);
  expect_refused(snf, resume, {"not the images that this run began with"});
  expect_refused(snf, resume + " --set context=none", {"[context]", "began with \"label\""});
  write_labels(snf);
  expect_success(snf(resume));
  const auto last = [&](const std::string& dir) {
    return read_file(snf / (dir + "/checkpoints/last.safetensors"));
  };
  EXPECT_EQ(last("a"), last("b"));
}

TEST_F(SnfExperiments, LabelsThatCannotBeAreRefused) {
  snf.write_images("data/mnist", 8);
  const std::string train = "train maf_mnist --out run " + tiny_vector + "--set context=";
  expect_refused(snf, train + "label", {"no file train-labels-idx1-ubyte", "fetch_mnist.sh"});
  write_labels(snf);
  write_cifar10(snf);
  write_imagenet32(snf);
  const std::vector<std::pair<std::string, Words>> refused = {
      {train + "digit", {"[context]", "one of none, label", "'digit'"}},
      {train + "label --dataset imagenet32",
       {"[context]", "ImageNet32 has no labels", "mnist, fashion_mnist, cifar10"}},
      {"train exact_fc_mnist --out run --set context=label",
       {"[context]", "exact takes no context", "real_nvp"}}};
  for (const auto& [arguments, words] : refused) expect_refused(snf, arguments, words);
  expect_success(snf("train maf_mnist --out c --epochs 1 --dataset cifar10" + tiny_vector +
                     "--set context=label"));
  snf.write("data/mnist/t10k-labels-idx1-ubyte", idx_labels("\1\2"));
  expect_refused(snf, train + "label", {"t10k-labels-idx1-ubyte", "found 2 labels", "expected 20"});
  EXPECT_FALSE(std::filesystem::exists(snf / "run"));
}

TEST_F(SnfExperiments, Cifar10TrainsInColourAndTellsBitsPerDimension) {
  write_cifar10(snf);
  for (const std::string experiment : {"conv1x1_glow_cifar", "selfnorm_glow_cifar"}) {
    SCOPED_TRACE(experiment);
    std::filesystem::remove_all(snf / "run");
    const Finished run = train(experiment, tiny_glow);
    expect_words(run.out, {"20 training, 5 validation, 5 test", "bits/dim"});
    expect_all_commands(experiment);
  }
}

TEST_F(SnfExperiments, ImageNet32TrainsFromItsTwoTarFiles) {
  write_imagenet32(snf);
  for (const std::string experiment : {"conv1x1_glow_imagenet", "selfnorm_glow_imagenet"}) {
    SCOPED_TRACE(experiment);
    std::filesystem::remove_all(snf / "run");
    const Finished run = train(experiment, tiny_glow);
    expect_words(run.out, {"20 training, 4 validation, 4 test", "bits/dim"});
    expect_all_commands(experiment);
  }
}

TEST_F(SnfExperiments, AnImageThatIsDamagedIsNamedAndNothingElseIsBlamed) {
  write_imagenet32(snf);
  std::string tar = read_file(snf / "data/imagenet32/train_32x32.tar");
  for (std::size_t at = 0; (at = tar.find("IDAT", at + 1)) != tar.npos;)
    if (at > 4096) tar[at + 40] ^= 0x55;  // the first image is looked at when the tar is opened
  snf.write("data/imagenet32/train_32x32.tar", tar);
  const Finished run = snf("train selfnorm_glow_imagenet --out run --epochs 1" + tiny_glow);
  EXPECT_EQ(run.code, 2);
  expect_words(run.err, {"train_32x32.tar", ".png"});
  EXPECT_EQ(run.err.find("diverged"), run.err.npos) << run.err;
}

TEST_F(SnfExperiments, AnotherDataSetIsNamed) {
  snf.write_images("data/fashion_mnist", 8);
  const Finished run = train("selfnorm_cnn_mnist", "--dataset fashion_mnist" + tiny_cnn);
  const Json config = Json::parse(read_file(snf / "run/config.json"));
  EXPECT_EQ(config["dataset"], "fashion_mnist");
  EXPECT_EQ(config["data"], "data/fashion_mnist");
  expect_all_commands("selfnorm_cnn_mnist");
}

TEST_F(SnfExperiments, FiltersAreDrawnPerLayer) {
  snf.write_images("data/mnist", 8);
  train("selfnorm_cnn_mnist", tiny_cnn);
  const std::string of = " --checkpoint run/checkpoints/last.safetensors --out filters";
  const Finished filters = snf("filters selfnorm_cnn_mnist" + of);
  expect_success(filters);
  expect_words(filters.out, {"filters: the filters of 2 layers", "without captions",
                             "W, R, and R flipped", "red is positive"});
  for (const char* dir : {"filters", "run/filters"})
    for (const char* name : {"layer_04.png", "layer_07.png"})
      EXPECT_TRUE(std::filesystem::exists(snf / dir / name)) << dir << "/" << name;
}

TEST_F(SnfExperiments, AugmentationChangesTheRunAndSurvivesResuming) {
  snf.write_images("data/mnist", 8);
  const std::string run = "train conv1x1_glow_mnist --epochs 2" + tiny_glow;
  expect_success(snf(run + "--out a"));
  expect_success(snf(run + "--out b --set augment=none"));
  expect_success(snf("train conv1x1_glow_mnist --epochs 1" + tiny_glow + "--out c"));
  expect_success(snf("train conv1x1_glow_mnist --epochs 2 --out c --resume"));
  const auto last = [&](const std::string& dir) {
    return read_file(snf / (dir + "/checkpoints/last.safetensors"));
  };
  EXPECT_NE(last("a"), last("b"));
  EXPECT_EQ(last("a"), last("c"));
}

// ---- Bad input ----------------------------------------------------------------------------------

TEST_F(SnfExperiments, ModelsThatCannotBeAreRefused) {
  snf.write_images("data/mnist", 6);
  const std::string train = "train selfnorm_glow_mnist --out run ";
  const std::vector<std::pair<std::string, Words>> refused = {
      {train + "--set width=4", {"[num_blocks]", "3 x 3", "cannot be squeezed", "fewer blocks"}},
      {train + "--set kernel_size=2", {"[kernel_size]", "an odd number", "2"}},
      {train + "--set layer=emerging", {"[layer]", "one of exact, self_normalizing, conv1x1"}},
      {train + "--set num_blocks=1,width", {"--set", "expected KEY=VALUE", "'width'"}},
      {train + "--dataset svhn", {"[dataset]", "one of mnist, fashion_mnist, cifar10", "'svhn'"}},
      {train + "--dataset cifar10", {"cifar10", "fetch_cifar10.sh"}},
      {train + "--dataset imagenet32", {"imagenet32", "train_32x32.tar"}}};
  for (const auto& [arguments, words] : refused) expect_refused(snf, arguments, words);
}

TEST_F(SnfExperiments, CommandsThatCannotBeAreRefused) {
  snf.write_images("data/mnist", 8);
  train("exact_cnn_mnist", tiny_cnn);
  write_cifar10(snf);
  const std::string of = " exact_cnn_mnist --checkpoint run/checkpoints/best.safetensors ";
  const std::vector<std::pair<std::string, Words>> refused = {
      {"filters" + of + "--out x", {"exact_cnn_mnist", "no self-normalizing convolutions"}},
      {"reconstruct" + of + "--out x.png --inverse learned", {"no learned inverse", "exact"}},
      {"evaluate" + of + "--set width=3", {"--set", "knows its configuration"}},
      {"evaluate" + of + "--dataset cifar10", {"3 x 32 x 32", "expects 1 x 8 x 8"}},
      {"evaluate" + of + "--dataset svhn", {"--dataset", "one of", "'svhn'"}}};
  for (const auto& [arguments, words] : refused) expect_refused(snf, arguments, words);
}

TEST_F(SnfExperiments, BenchTakesASmallerModel) {
  const Finished run = snf("bench selfnorm_glow_cifar --steps 1 --json" + tiny_glow);
  expect_success(run);
  EXPECT_EQ(Json::parse(run.out)["batch_size"], 5);
}

// The commands of the README that begin with snf: lines of code, and code in a table.
std::vector<std::string> commands_of_the_readme() {
  std::istringstream readme(read_file(BACKFLOW_SOURCE_ROOT "/README.md"));
  std::vector<std::string> commands;
  for (std::string line; std::getline(readme, line);) {
    if (line.starts_with("    snf ")) {
      line = line.substr(4, line.find("  #") - 4);
      commands.push_back(line.substr(0, line.find_last_not_of(' ') + 1));
    }
    const std::size_t begin = line.find("| `snf ");
    if (begin != line.npos)
      commands.push_back(line.substr(begin + 3, line.find('`', begin + 3) - begin - 3));
  }
  return commands;
}

TEST(Readme, CommandsOfTheProgramRun) {
  const Snf snf;
  snf.write_images("data/mnist", 28);
  write_labels(snf);
  write_cifar10(snf);
  int trained = 0, others = 0;
  for (std::string command : commands_of_the_readme()) {
    SCOPED_TRACE(command);
    if (command.starts_with("snf train")) {
      ++trained;
      if (command.find("--batch-size") == command.npos) command += " --batch-size 10";
      // The last value that is given to a field holds.
      if (std::regex_search(command, std::regex("glow|(nice|realnvp|maf|nsf|idf|residual)_mnist")))
        command += " --set width=8";
      command = std::regex_replace(command, std::regex("--epochs [0-9]+"), "--epochs 1");
      std::filesystem::remove_all(snf / "runs");
      EXPECT_EQ(snf(command.substr(4) + " --limit-batches 2 --quiet").code, 0);
    } else {
      ++others;
      const Finished run = snf(command.substr(4));
      EXPECT_EQ(run.code, 0) << run.err;
      EXPECT_NE(run.out, "");
    }
  }
  EXPECT_GE(trained, 13);
  EXPECT_GE(others, 6);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

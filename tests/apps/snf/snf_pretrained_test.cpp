// The models that come with the program.
#include "backflow/apps/files/safetensors.h"
#include "backflow/ops/blas.h"
#include "backflow/tests/apps/snf/program.h"
#include "backflow/tests/apps/snf/program_output.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

const fs::path models = BACKFLOW_SOURCE_ROOT "/apps/pretrained";
const fs::path images = BACKFLOW_SOURCE_ROOT "/tests/data/mnist/t10k-images-idx3-ubyte.gz";

Words names_of_models() {
  Words names;
  for (const auto& entry : fs::directory_iterator(models))
    if (entry.path().extension() == ".safetensors") names.push_back(entry.path().stem());
  return names;
}

// What the table of apps/pretrained/README.md says of a model.
struct PublishedRow {
  std::string command, epochs, best_epoch, test_nll, paper, first_200, hours;
};

PublishedRow row_of(const std::string& model) {
  std::istringstream readme(read_file(models / "README.md"));
  for (std::string line; std::getline(readme, line);) {
    if (!line.starts_with("| `" + model + "` |")) continue;
    Words cells;
    std::istringstream parts(line);
    for (std::string cell; std::getline(parts, cell, '|');) cells.push_back(cell);
    if (cells.size() != 9) fail(model, "found ", cells.size(), " cells in its row, expected 9");
    return {cells[2], cells[3], cells[4], cells[5], cells[6], cells[7], cells[8]};
  }
  fail(model, "has no row in apps/pretrained/README.md");
}

// Where data/mnist holds the first 200 of MNIST's test images.
class Pretrained : public testing::Test {
 protected:
  Pretrained() {
    snf.write("data/mnist/train-images-idx3-ubyte", idx_file(60, 28, 28));
    fs::remove(snf / "data/mnist/t10k-images-idx3-ubyte");
    fs::copy_file(images, snf / "data/mnist/t10k-images-idx3-ubyte.gz");
  }

  const Snf snf;
};

TEST_F(Pretrained, ModelsHaveTheNllOfTheirRowOnTheFirst200Images) {
  // The README rounds to two digits. Other precisions, instructions and kernels round otherwise.
  const double tolerance =
      0.005 + (blas_kernel() == "Haswell" || blas_kernel() == "Zen" ? 1e-3 : 1e-2);
  for (const std::string& name : names_of_models()) {
    SCOPED_TRACE(name);
    const Finished run =
        snf("evaluate " + name + " --pretrained --limit 200 --noise midpoint --json");
    expect_success(run);
    const Json result = Json::parse(run.out);
    EXPECT_EQ(result["images"], 200);
    EXPECT_NEAR(result["nll_nats"].get<double>(), std::stod(row_of(name).first_200), tolerance);
  }
}

TEST_F(Pretrained, ModelsAreWhatTheirRowSays) {
  EXPECT_GE(names_of_models().size(), 2u);
  for (const std::string& name : names_of_models()) {
    SCOPED_TRACE(name);
    const auto metadata = SafetensorsFile(models / (name + ".safetensors")).metadata();
    const PublishedRow row = row_of(name);
    EXPECT_EQ(metadata.at("experiment"), name);
    EXPECT_NE(row.command.find("`snf train " + name + " "), row.command.npos);
    EXPECT_NE(row.command.find("--seed " + metadata.at("seed")), row.command.npos);
    EXPECT_EQ(std::stoi(row.best_epoch), std::stoi(metadata.at("epoch")));
    EXPECT_TRUE(row.test_nll.starts_with(" " + metadata.at("test_nll") + " +- "));
  }
}

TEST_F(Pretrained, ModelsHaveTheirCurveAndAreInstalled) {
  const std::string meson = read_file(BACKFLOW_SOURCE_ROOT "/apps/meson.build");
  for (const std::string& name : names_of_models()) {
    EXPECT_TRUE(fs::exists(models / (name + ".png"))) << name;
    EXPECT_NE(meson.find("'pretrained/" + name + ".safetensors',"), meson.npos) << name;
  }
}

TEST_F(Pretrained, EveryCommandTakesOne) {
  const std::string model = " selfnorm_cnn_mnist --pretrained ";
  expect_success(snf("sample" + model + "--count 4 --out samples.png"));
  expect_success(snf("reconstruct" + model + "--count 4 --out there.png"));
  expect_success(snf("filters" + model + "--out filters"));
  EXPECT_TRUE(fs::exists(snf / "samples.png"));
  EXPECT_TRUE(fs::exists(snf / "there.png"));
  EXPECT_TRUE(fs::exists(snf / "filters"));
}

TEST_F(Pretrained, ExactlyOneOfFileAndModelIsToBeNamed) {
  const std::pair<std::string, std::string> commands[] = {{"evaluate", ""},
                                                          {"sample", " --out x.png"},
                                                          {"reconstruct", " --out x.png"},
                                                          {"filters", " --out x"}};
  for (const auto& [command, more] : commands) {
    const std::string of = command + " selfnorm_cnn_mnist" + more;
    expect_refused(snf, of,
                   {"[--checkpoint] found no model", "--checkpoint FILE or --pretrained",
                    "'snf " + command + " --help'"});
    expect_refused(snf, of + " --pretrained --checkpoint run/best",
                   {"[--pretrained] found --checkpoint run/best beside it", "one of the two"});
    expect_refused(snf, command + " exact_fc_mnist --pretrained" + more,
                   {"[--pretrained] found no model of exact_fc_mnist", "expected one of",
                    "emerging_cnn_mnist, ", "selfnorm_cnn_mnist", "--checkpoint"});
    expect_refused(snf, command + " selfnorm_cnn --pretrained" + more,
                   {"there is no 'selfnorm_cnn'", "did you mean"});
  }
}

// An installed program is one whose prefix has the models; wherever that was moved to.
TEST_F(Pretrained, ModelsOfAnInstalledProgramAreThoseOfItsPrefix) {
  fs::create_directories(snf / "prefix/bin");
  fs::create_directories(snf / "prefix/share/backflow/pretrained");
  fs::copy_file(SNF_PROGRAM, snf / "prefix/bin/snf");
  fs::copy_file(models / "emerging_cnn_mnist.safetensors",
                snf / "prefix/share/backflow/pretrained/emerging_cnn_mnist.safetensors");
  fs::create_symlink("prefix/bin/snf", snf / "snf");
  for (const std::string program : {"prefix/bin/snf", "snf"}) {
    const Finished evaluated =
        snf.run({program, "evaluate", "emerging_cnn_mnist", "--pretrained", "--limit", "1"});
    expect_success(evaluated);
    const Finished missing = snf.run({program, "evaluate", "selfnorm_cnn_mnist", "--pretrained"});
    EXPECT_EQ(missing.code, 2);
    expect_words(missing.err, {"expected one of emerging_cnn_mnist; "});
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

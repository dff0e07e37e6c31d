// The program classifier as its users meet it.
#include "backflow/apps/data/datasets.h"
#include "backflow/apps/files/safetensors.h"
#include "backflow/tests/apps/snf/program_output.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// In a directory where data/mnist holds 1000 images to train on and 200 to test on, of 5 x 5
// pixels: noise, and one bright pixel that tells the label.
class Classifier : public testing::Test {
 protected:
  Classifier() {
    write_set("train", 1000, 1);
    write_set("t10k", 200, 2);
  }

  void write_set(const std::string& set, std::uint32_t count, std::uint64_t seed) const {
    constexpr std::uint32_t pixels = 25;
    const std::vector<Real> noise = Random(seed).uniform({count * pixels}).values();
    std::string images = idx_header(count, 5, 5), labels;
    for (std::uint32_t i = 0; i < count; ++i) {
      const std::uint32_t label = (7 * i + i / 10) % 10;
      labels += static_cast<char>(label);
      for (std::uint32_t p = 0; p < pixels; ++p)
        images += static_cast<char>(p == 2 * label ? 255 : 100 * noise[i * pixels + p]);
    }
    dir_.write("data/mnist/" + set + "-images-idx3-ubyte", images);
    dir_.write("data/mnist/" + set + "-labels-idx1-ubyte", idx_labels(labels));
  }

  Finished run(const std::string& arguments, const Conditions& conditions = {}) const {
    Words words = split(arguments);
    words.insert(words.begin(), CLASSIFIER_PROGRAM);
    return dir_.run(words, conditions);
  }

  // One line on stderr that has all the words in it, and nothing written.
  void expect_refusal(const std::string& arguments, const Words& words) const {
    SCOPED_TRACE(arguments);
    const Snf::Snapshot before = dir_.snapshot();
    const Finished finished = run(arguments);
    EXPECT_EQ(finished.code, 2);
    EXPECT_EQ(finished.out, "");
    EXPECT_TRUE(finished.err.starts_with("classifier: ")) << finished.err;
    EXPECT_EQ(finished.err.find('\n') + 1, finished.err.size()) << finished.err;
    expect_words(finished.err, words);
    EXPECT_TRUE(dir_.snapshot() == before) << "files have changed";
  }

  // The test accuracies of the epochs, in percent.
  static std::vector<double> accuracies(const std::string& out) {
    std::vector<double> found;
    std::istringstream lines(out);
    for (std::string line; std::getline(lines, line);)
      if (const Words row = split(line); row.size() == 5 && row[3] == "%")
        found.push_back(std::stod(row[2]));
    return found;
  }

  const Snf dir_;
};

TEST_F(Classifier, LearnsWhatTheLabelsSay) {
  const Finished finished = run("--epochs 12");
  expect_success(finished);
  expect_words(finished.out, {"data/mnist: 1000 training and 200 test images, 5 x 5 pixels",
                              "network: 25 -> 128 -> 10, 4618 parameters",
                              "epoch  training loss, nats  test accuracy  seconds"});
  const std::vector<double> found = accuracies(finished.out);
  ASSERT_EQ(found.size(), 12u) << finished.out;
  EXPECT_LT(found.front(), 90);
  EXPECT_GT(found.back(), 97);
}

TEST_F(Classifier, WritesItsPicturesAndItsNetwork) {
  const Finished finished = run("--epochs 1 --out some/where");
  expect_success(finished);
  expect_words(finished.out,
               {"of 200 test images were taken for something else",
                "some/where/confusion.png; without words: gnuplot is missing",
                "some/where/mistakes.png; without words", "some/where/network.safetensors"});
  EXPECT_GT(read_png(dir_ / "some/where/confusion.png").width, 10 * 56);
  EXPECT_GT(read_png(dir_ / "some/where/mistakes.png").width, 8 * 164);
  const TensorFile network = load_safetensors(dir_ / "some/where/network.safetensors");
  EXPECT_EQ(network.tensors.at("0.weight").shape(), (Shape{128, 25}));
  EXPECT_EQ(network.tensors.at("2.bias").shape(), Shape{10});
}

TEST_F(Classifier, PicturesHaveWordsWhereThereIsGnuplot) {
  if (!is_there("gnuplot")) GTEST_SKIP() << "there is no gnuplot";
  const Finished finished = run("--epochs 1 --out out", {.path = std::getenv("PATH")});
  expect_success(finished);
  EXPECT_EQ(finished.out.find("without words"), std::string::npos);
}

TEST_F(Classifier, GivesTheSameBitsOnAnyNumberOfThreads) {
  const auto network = [&](const std::string& more) {
    expect_success(run("--epochs 2 --out out " + more));
    return read_file(dir_ / "out/network.safetensors");
  };
  const std::string one = network("--threads 1");
  EXPECT_TRUE(network("--threads 2") == one);
  EXPECT_TRUE(network("--threads 3") == one);
  EXPECT_TRUE(network("--seed 0") == one);
  EXPECT_FALSE(network("--seed 1") == one);
}

TEST_F(Classifier, LooksAtTheFirstImagesOnly) {
  const Finished finished = run("--epochs 1 --limit 150");
  expect_success(finished);
  expect_words(finished.out, {"150 training and 150 test images", "of 150 test images"});
  expect_success(run("--epochs 1 --limit 1"));
  expect_words(run("--epochs 1 --limit 500").out, {"500 training and 200 test images"});
}

TEST_F(Classifier, FashionMnistComesFromDebian) {
  if (!fs::exists(debians_fashion_mnist)) GTEST_SKIP() << "dataset-fashion-mnist is not installed";
  const Finished finished = run("--dataset fashion_mnist --epochs 2 --limit 3000");
  expect_success(finished);
  expect_words(finished.out, {"Fashion-MNIST: 3000 training and 3000 test images, 28 x 28 pixels",
                              "network: 784 -> 128 -> 10, 101770 parameters"});
  EXPECT_GT(accuracies(finished.out).at(1), 70);
  // By its images it is known wherever it lies.
  expect_words(run("--epochs 1 --limit 10 --data " + std::string(debians_fashion_mnist)).out,
               {"Fashion-MNIST: 10 training"});
}

TEST_F(Classifier, MissingDataTellHowToFetchThem) {
  expect_refusal("--data none", {"[none] no such directory, expected the MNIST images",
                                 "apps/data/fetch_mnist.sh none"});
  expect_refusal("--dataset fashion_mnist --data none",
                 {"Fashion-MNIST images", "apt-get install dataset-fashion-mnist"});
  fs::remove(dir_ / "data/mnist/t10k-labels-idx1-ubyte");
  expect_refusal("", {"[data/mnist] no file t10k-labels-idx1-ubyte", "fetch_mnist.sh"});
}

TEST_F(Classifier, DamagedLabelsAreRefused) {
  dir_.write("data/mnist/t10k-labels-idx1-ubyte", idx_labels(std::string(200, '\x0a')));
  expect_refusal("", {"t10k-labels-idx1-ubyte]", "label 10 of example 0", "expected 0 to 9"});
  dir_.write("data/mnist/t10k-labels-idx1-ubyte", idx_labels(std::string(199, '\1')));
  expect_refusal("", {"found 199 labels, expected 200"});
}

TEST_F(Classifier, BadOptionsAreAnsweredInALine) {
  for (const std::string number : {"0", "-1", "1.5", "1e3", "x", "nan", "99999999999999999999"})
    expect_refusal("--epochs " + number,
                   {"[--epochs] expected a whole number from 1 to 1000000, got '" + number + "'"});
  expect_refusal("--limit 0", {"[--limit] expected a whole number from 1"});
  expect_refusal("--threads 0", {"[--threads] expected a whole number from 1 to 1024"});
  expect_refusal("--seed -1", {"[--seed] expected a whole number from 0"});
  expect_refusal("--dataset cifar10", {"[--dataset] expected one of fashion_mnist, mnist"});
  expect_refusal("--epoch 3", {"there is no '--epoch'", "did you mean '--epochs'?"});
  expect_refusal("more", {"there is no 'more'", "see 'classifier --help'"});
  expect_refusal("--seed", {"[--seed] expected exactly one value"});
}

TEST_F(Classifier, AnOutputInTheWayIsNamed) {
  dir_.write("file", "");
  expect_refusal("--limit 5 --out file/below",
                 {"[file/below] cannot make the directory: Not a directory", "--out"});
  expect_refusal("--limit 5 --out file", {"[file] cannot make the directory"});
}

TEST_F(Classifier, HelpShowsTheOptionsAndTheirDefaults) {
  const Finished finished = run("--help");
  expect_success(finished);
  expect_words(finished.out, {"--dataset NAME", "[default: mnist]", "--data DIR", "data/NAME",
                              "--epochs N", "[default: 5]", "--out DIR", "runs/classifier",
                              "--limit N", "[default: all]", "--seed N", "--threads N"});
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/apps/model/datasets.h"

#include "backflow/apps/data/datasets.h"
#include "backflow/tests/apps/data/idx_files.h"
#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

TEST(Datasets, UnknownNamesAreRefused) {
  EXPECT_EQ(message_of([] { load_dataset("mnits", "data"); }),
            "[dataset] expected one of mnist, fashion_mnist, cifar10, imagenet32, got 'mnits'; did "
            "you mean 'mnist'?");
}

TEST(Datasets, AreLoadedByTheirNames) {
  const Scratch scratch;
  scratch.write("train-images-idx3-ubyte", idx_file(12, 2, 3));
  scratch.write("t10k-images-idx3-ubyte", idx_file(4, 2, 3));
  const ImageSplits images = load_dataset("mnist", scratch.dir());
  EXPECT_EQ(images.train.pixels, load_mnist(scratch.dir()).train.pixels);
  EXPECT_EQ(images.train_checksum, checksum(images.train));
  EXPECT_FALSE(images.published);
  EXPECT_EQ(images.name, scratch.dir().string());
  for (const DatasetRow& row : datasets().rows())
    expect_message(message_of([&] { load_dataset(row.name, "no/such/place"); }), "[no/such/place]",
                   row.title);
}

TEST(Datasets, HaveLabelsIfAskedForWhichTheChecksumsCover) {
  const Scratch scratch;
  scratch.write("train-images-idx3-ubyte", idx_file(6, 2, 3));
  scratch.write("t10k-images-idx3-ubyte", idx_file(1, 2, 3));
  scratch.write("train-labels-idx1-ubyte", idx_labels({9, 0, 7, 3, 3, 5}));
  scratch.write("t10k-labels-idx1-ubyte", idx_labels({4}));
  const ImageSplits none = load_dataset("mnist", scratch.dir());
  const ImageSplits labelled = load_dataset("mnist", scratch.dir(), true);
  EXPECT_TRUE(none.train.labels.empty());
  EXPECT_EQ(labelled.validation.labels, (std::vector<std::uint8_t>{5}));
  EXPECT_NE(labelled.train_checksum, none.train_checksum);
  scratch.write("train-labels-idx1-ubyte", idx_labels({9, 0, 7, 3, 2, 5}));
  const ImageSplits others = load_dataset("mnist", scratch.dir(), true);
  EXPECT_NE(others.train_checksum, labelled.train_checksum);
  EXPECT_EQ(others.validation_checksum, labelled.validation_checksum);
  EXPECT_EQ(others.test_checksum, labelled.test_checksum);
}

TEST(Datasets, AreKnownByTheirTestImages) {
  EXPECT_EQ(known_by_test_images({1, 2, 3, std::vector<std::uint8_t>(12)}), nullptr);
  EXPECT_EQ(known_by_test_images({1, 28, 28, {}}), nullptr);
  if (!std::filesystem::is_directory(debians_fashion_mnist))
    GTEST_SKIP() << "dataset-fashion-mnist is not installed";
  const DatasetRow* known = known_by_test_images(load_fashion_mnist(debians_fashion_mnist).test);
  ASSERT_NE(known, nullptr);
  EXPECT_EQ(known->name, "fashion_mnist");
}

TEST(Datasets, EachHasADirectory) {
  EXPECT_EQ(datasets()["mnist"].directory(), "data/mnist");
  EXPECT_EQ(datasets()["cifar10"].directory(), "data/cifar10");
  EXPECT_EQ(datasets()["imagenet32"].directory(), "data/imagenet32");
}

TEST(Datasets, DebiansFashionMnistIsFoundUnlessThereIsAnother) {
  namespace fs = std::filesystem;
  const fs::path before = fs::current_path();
  const Scratch scratch;
  fs::current_path(scratch.dir());
  const fs::path debians = "/usr/share/datasets/fashion-mnist";
  EXPECT_EQ(datasets()["fashion_mnist"].directory(),
            fs::is_directory(debians) ? debians : fs::path("data/fashion_mnist"));
  fs::create_directories("data/fashion_mnist");
  EXPECT_EQ(datasets()["fashion_mnist"].directory(), "data/fashion_mnist");
  fs::current_path(before);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

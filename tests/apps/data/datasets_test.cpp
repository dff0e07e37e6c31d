#include "backflow/apps/data/datasets.h"

#include <algorithm>
#include <cstring>
#include <set>

#include "backflow/apps/data/png_archive.h"
#include "backflow/apps/files/atomic_file.h"
#include "backflow/tests/apps/data/idx_files.h"
#include "backflow/tests/apps/files/png_files.h"
#include "backflow/tests/apps/files/scratch.h"
#include "backflow/tests/apps/files/tar_files.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

std::string message_of_mnist(const Scratch& scratch) {
  return message_of([&] { load_mnist(scratch.dir()); });
}

TEST(Mnist, TheLastSixthOfTheTrainingFileIsForValidation) {
  const Scratch scratch;
  scratch.write("train-images-idx3-ubyte", idx_file(13, 2, 3));
  scratch.write("t10k-images-idx3-ubyte", idx_file(4, 2, 3));
  const ImageSplits splits = load_mnist(scratch.dir());
  EXPECT_EQ(splits.train.count(), 11);
  EXPECT_EQ(splits.validation.count(), 2);
  EXPECT_EQ(splits.test.count(), 4);
  for (const ImageSet* set : {&splits.train, &splits.validation, &splits.test}) {
    EXPECT_EQ(set->channels, 1);
    EXPECT_EQ(set->height, 2);
    EXPECT_EQ(set->width, 3);
  }
  EXPECT_EQ(splits.train.pixels.front(), 0);
  EXPECT_EQ(splits.train.pixels.back(), 65);
  EXPECT_EQ(splits.validation.pixels.front(), 66);
  EXPECT_EQ(splits.validation.pixels.back(), 77);
}

TEST(Mnist, EverySpellingOfTheFilesIsFound) {
  for (const std::string dash : {"-", "."})
    for (const bool compressed : {false, true}) {
      const Scratch scratch;
      for (const std::string set : {"train", "t10k"}) {
        const std::string name = set + "-images" + dash + "idx3-ubyte";
        if (compressed)
          scratch.write(name + ".gz", gzip(idx_file(6, 2, 2)));
        else
          scratch.write(name, idx_file(6, 2, 2));
      }
      EXPECT_EQ(load_mnist(scratch.dir()).train.count(), 5) << dash << compressed;
    }
}

TEST(Mnist, AMissingDirectoryTellsHowToFetchIt) {
  expect_message(message_of([] { load_mnist("no/such/place"); }), "[no/such/place]",
                 "no such directory", "apps/data/fetch_mnist.sh no/such/place");
}

TEST(Mnist, AMissingFileTellsHowToFetchIt) {
  const Scratch scratch;
  const std::string hint = "apps/data/fetch_mnist.sh " + scratch.dir().string();
  expect_message(message_of_mnist(scratch), "train-images-idx3-ubyte", hint);
  scratch.write("train-images-idx3-ubyte", idx_file(6, 2, 2));
  expect_message(message_of_mnist(scratch), "t10k-images-idx3-ubyte", hint);
}

TEST(Mnist, ADirectoryNamedLikeAFileIsNotTheFile) {
  const Scratch scratch;
  std::filesystem::create_directory(scratch / "train-images-idx3-ubyte");
  expect_message(message_of_mnist(scratch), "no file train-images-idx3-ubyte");
}

TEST(Mnist, DifferentImageSizesAreRefused) {
  const Scratch scratch;
  scratch.write("train-images-idx3-ubyte", idx_file(6, 2, 2));
  scratch.write("t10k-images-idx3-ubyte", idx_file(6, 2, 3));
  expect_message(message_of_mnist(scratch), "2 x 2", "2 x 3", "the same size");
}

TEST(Mnist, TooFewImagesAreRefused) {
  const Scratch scratch;
  scratch.write("train-images-idx3-ubyte", idx_file(5, 2, 2));
  scratch.write("t10k-images-idx3-ubyte", idx_file(0, 2, 2));
  expect_message(message_of_mnist(scratch), "train-images", "found 5 images", "at least 6");
  scratch.write("train-images-idx3-ubyte", idx_file(6, 2, 2));
  expect_message(message_of_mnist(scratch), "t10k-images", "found 0 images", "at least 1");
}

// ---- Fashion-MNIST ----------------------------------------------------------------------------

class LabelledMnist : public testing::Test {
 protected:
  LabelledMnist() {
    scratch_.write("train-images-idx3-ubyte", idx_file(3, 2, 4));
    scratch_.write("train-labels-idx1-ubyte", idx_labels({9, 0, 7}));
    scratch_.write("t10k-images-idx3-ubyte", idx_file(2, 2, 4));
    scratch_.write("t10k-labels-idx1-ubyte", idx_labels({1, 2}));
  }
  std::string message() const {
    return message_of([&] { load_labelled_mnist(scratch_.dir()); });
  }
  Scratch scratch_;
};

TEST_F(LabelledMnist, AllOfTheTrainingFileIsForTraining) {
  const LabelledSplits splits = load_labelled_mnist(scratch_.dir());
  EXPECT_EQ(splits.train.images.count(), 3);
  EXPECT_EQ(splits.train.images.width, 4);
  EXPECT_EQ(splits.train.images.pixels.back(), 23);
  EXPECT_EQ(splits.train.labels, (std::vector<std::uint8_t>{9, 0, 7}));
  EXPECT_EQ(splits.test.images.count(), 2);
  EXPECT_EQ(splits.test.labels, (std::vector<std::uint8_t>{1, 2}));
  EXPECT_EQ(load_labelled_fashion_mnist(scratch_.dir()).test.labels, splits.test.labels);
}

TEST_F(LabelledMnist, EverySpellingOfTheLabelsIsFound) {
  const std::string labels = read_file(scratch_ / "t10k-labels-idx1-ubyte");
  std::filesystem::remove(scratch_ / "t10k-labels-idx1-ubyte");
  for (const std::string name : {"t10k-labels.idx1-ubyte", "t10k-labels-idx1-ubyte.gz"}) {
    scratch_.write(name, name.ends_with(".gz") ? gzip(labels) : labels);
    EXPECT_EQ(load_labelled_mnist(scratch_.dir()).test.labels.size(), 2u) << name;
    std::filesystem::remove(scratch_ / name);
  }
}

TEST_F(LabelledMnist, MissingLabelsTellHowToFetchThem) {
  std::filesystem::remove(scratch_ / "train-labels-idx1-ubyte");
  expect_message(message(), "no file train-labels-idx1-ubyte", "apps/data/fetch_mnist.sh");
  std::filesystem::remove_all(scratch_.dir());
  expect_message(message(), "no such directory", "apps/data/fetch_mnist.sh");
}

TEST_F(LabelledMnist, ALabelTooManyOrTooFewIsRefused) {
  for (const char* labels : {"\1", "\1\2\3"}) {
    scratch_.write("t10k-labels-idx1-ubyte", idx_labels(labels));
    expect_message(message(), "t10k-labels-idx1-ubyte]",
                   "found " + std::to_string(std::strlen(labels)) + " labels, expected 2",
                   "t10k-images-idx3-ubyte");
  }
}

TEST_F(LabelledMnist, LabelsInPlaceOfImagesAreRefused) {
  scratch_.write("t10k-images-idx3-ubyte", idx_labels(std::string(20, '\1')));
  expect_message(message(), "t10k-images-idx3-ubyte]", "wrong magic", "not labels");
}

TEST_F(LabelledMnist, NoImagesAndOtherSizesAreRefused) {
  scratch_.write("t10k-images-idx3-ubyte", idx_file(2, 4, 2));
  expect_message(message(), "training images are 2 x 4, test images are 4 x 2");
  scratch_.write("t10k-images-idx3-ubyte", idx_header(0, 2, 4));
  scratch_.write("t10k-labels-idx1-ubyte", idx_labels(""));
  expect_message(message(), "found 0 images, expected at least 1");
}

// Six images in the training file, of which the last is for validation.
class MnistWithLabels : public testing::Test {
 protected:
  MnistWithLabels() {
    scratch_.write("train-images-idx3-ubyte", idx_file(6, 2, 4));
    scratch_.write("train-labels-idx1-ubyte", idx_labels({9, 0, 7, 3, 3, 5}));
    scratch_.write("t10k-images-idx3-ubyte", idx_file(2, 2, 4));
    scratch_.write("t10k-labels-idx1-ubyte.gz", gzip(idx_labels({1, 2})));
  }
  ImageSplits load() const {
    ImageSplits images = load_mnist(scratch_.dir());
    add_mnist_labels(scratch_.dir(), images);
    return images;
  }
  std::string message() const {
    return message_of([&] { load(); });
  }
  Scratch scratch_;
};

TEST_F(MnistWithLabels, EachImageKeepsItsLabel) {
  const ImageSplits images = load();
  EXPECT_EQ(images.train.labels, (std::vector<std::uint8_t>{9, 0, 7, 3, 3}));
  EXPECT_EQ(images.validation.labels, (std::vector<std::uint8_t>{5}));
  EXPECT_EQ(images.test.labels, (std::vector<std::uint8_t>{1, 2}));
}

TEST_F(MnistWithLabels, ALabelTooManyOrTooFewIsRefused) {
  scratch_.write("train-labels-idx1-ubyte", idx_labels({9, 0, 7, 3, 3}));
  expect_message(message(), "train-labels-idx1-ubyte] ", "found 5 labels", "expected 6");
  scratch_.write("train-labels-idx1-ubyte", idx_labels({9, 0, 7, 3, 3, 5}));
  scratch_.write("t10k-labels-idx1-ubyte", idx_labels({1, 2, 3}));
  expect_message(message(), "t10k-labels-idx1-ubyte] ", "found 3 labels", "expected 2");
}

TEST_F(MnistWithLabels, WhatIsMissingTellsHowToFetchIt) {
  std::filesystem::remove(scratch_ / "train-labels-idx1-ubyte");
  expect_message(message(), "no file train-labels-idx1-ubyte", "fetch_mnist.sh");
  EXPECT_TRUE(load_mnist(scratch_.dir()).train.labels.empty());  // who asks for none needs no file
}

TEST(FashionMnist, ItHasTheFormatOfMnist) {
  const Scratch scratch;
  scratch.write("train-images-idx3-ubyte.gz", gzip(idx_file(12, 2, 3)));
  scratch.write("t10k-images-idx3-ubyte.gz", gzip(idx_file(4, 2, 3)));
  const ImageSplits splits = load_fashion_mnist(scratch.dir());
  EXPECT_EQ(splits.train.count(), 10);
  EXPECT_EQ(splits.validation.count(), 2);
  EXPECT_EQ(splits.test.count(), 4);
}

TEST(FashionMnist, WhatIsMissingTellsHowToGetIt) {
  expect_message(message_of([] { load_fashion_mnist("no/such/place"); }), "[no/such/place]",
                 "Fashion-MNIST", "apt-get install dataset-fashion-mnist");
  const Scratch scratch;
  expect_message(message_of([&] { load_fashion_mnist(scratch.dir()); }), "train-images-idx3-ubyte",
                 "apt-get install dataset-fashion-mnist");
}

TEST(FashionMnist, ColorsAndLabelsAreRefused) {
  const Scratch scratch;
  for (const std::uint32_t magic : {0x804u, 0x801u}) {
    scratch.write("train-images-idx3-ubyte", idx_header(6, 2, 2, magic) + std::string(72, 'x'));
    scratch.write("t10k-images-idx3-ubyte", idx_file(6, 2, 2));
    expect_message(message_of([&] { load_fashion_mnist(scratch.dir()); }),
                   "train-images-idx3-ubyte] ", "expected 0x00000803", "not labels, not colour");
  }
}

// ---- CIFAR-10 ---------------------------------------------------------------------------------

const std::vector<std::string> batches = {"data_batch_1", "data_batch_2", "data_batch_3",
                                          "data_batch_4", "data_batch_5", "test_batch"};
constexpr std::size_t plane = 1024, image = 3 * plane;

// A batch of the binary version, its pixels from noise(..., seed).
std::string records(std::uint32_t count, std::uint32_t seed) {
  std::string bytes;
  for (std::uint32_t i = 0; i < count; ++i)
    bytes += static_cast<char>(i % 10) + noise(image, seed + i);
  return bytes;
}

// The same images as rows of a PNG file.
std::string rows(std::uint32_t count, std::uint32_t seed) {
  std::string bytes;
  for (std::uint32_t i = 0; i < count; ++i) {
    const std::string planes = noise(image, seed + i);
    for (std::size_t pixel = 0; pixel < plane; ++pixel)
      for (std::size_t channel = 0; channel < 3; ++channel)
        bytes += planes[channel * plane + pixel];
  }
  return png_file(count, plane, bytes);
}

class Cifar10 : public testing::Test {
 protected:
  // Two images in every batch.
  void write_batches(const std::string& suffix, const std::string& folder = "") const {
    std::filesystem::create_directories(scratch_ / folder);
    std::uint32_t seed = 0;
    for (const std::string& name : batches) {
      scratch_.write(folder + name + suffix, suffix == ".png" ? rows(2, seed) : records(2, seed));
      seed += 10;
    }
  }
  std::string message() const {
    return message_of([&] { load_cifar10(scratch_.dir()); });
  }

  Scratch scratch_;
};

void expect_12_images(const ImageSplits& splits) {
  const std::vector<std::pair<const ImageSet*, std::vector<std::uint32_t>>> expected = {
      {&splits.train, {0, 1, 10, 11, 20, 21, 30, 31}},
      {&splits.validation, {40, 41}},
      {&splits.test, {50, 51}},
  };
  for (const auto& [set, seeds] : expected) {
    EXPECT_EQ(set->channels, 3);
    EXPECT_EQ(set->height, 32);
    EXPECT_EQ(set->width, 32);
    ASSERT_EQ(set->count(), std::ssize(seeds));
    std::string pixels;
    for (const std::uint32_t seed : seeds) pixels += noise(image, seed);
    EXPECT_EQ(std::string(set->pixels.begin(), set->pixels.end()), pixels);
  }
}

TEST_F(Cifar10, BothFormatsAndEverySpellingGiveTheSameImages) {
  for (const std::string folder : {"", "cifar-10-batches-bin/"})
    for (const std::string suffix : {".bin", "", ".png"}) {
      SCOPED_TRACE(folder + "*" + suffix);
      for (const auto& entry : std::filesystem::directory_iterator(scratch_.dir()))
        std::filesystem::remove_all(entry.path());
      write_batches(suffix, folder);
      expect_12_images(load_cifar10(scratch_.dir()));
    }
}

TEST_F(Cifar10, TheRecordsOfTheBinaryVersionHaveLabels) {
  write_batches(".bin");
  scratch_.write("data_batch_5.bin", records(3, 40));
  ImageSplits images = load_cifar10(scratch_.dir());  // 11 images, 2 of them for validation
  add_cifar10_labels(scratch_.dir(), images);
  EXPECT_EQ(images.train.labels, (std::vector<std::uint8_t>{0, 1, 0, 1, 0, 1, 0, 1, 0}));
  EXPECT_EQ(images.validation.labels, (std::vector<std::uint8_t>{1, 2}));
  EXPECT_EQ(images.test.labels, (std::vector<std::uint8_t>{0, 1}));
}

TEST_F(Cifar10, APngHasNoLabels) {
  write_batches(".png");
  ImageSplits images = load_cifar10(scratch_.dir());
  expect_message(message_of([&] { add_cifar10_labels(scratch_.dir(), images); }),
                 "data_batch_1.png] ", "no labels", "data_batch_1.bin");
}

TEST_F(Cifar10, AMissingDirectoryTellsHowToFetchIt) {
  expect_message(message_of([] { load_cifar10("no/such/place"); }), "[no/such/place]",
                 "no such directory", "CIFAR-10", "apps/data/fetch_cifar10.sh no/such/place");
}

TEST_F(Cifar10, AMissingBatchTellsHowToFetchIt) {
  const std::string hint = "apps/data/fetch_cifar10.sh " + scratch_.dir().string();
  write_batches(".bin");
  for (const std::string& name : batches) {
    std::filesystem::rename(scratch_ / (name + ".bin"), scratch_ / "hidden");
    expect_message(message(), "no file " + name + ".bin or " + name + ".png", hint);
    std::filesystem::rename(scratch_ / "hidden", scratch_ / (name + ".bin"));
  }
}

TEST_F(Cifar10, ABinaryBatchOfTheWrongSizeIsRefused) {
  write_batches(".bin");
  scratch_.write("data_batch_3.bin", records(2, 0).substr(1));
  expect_message(message(), "data_batch_3.bin] ", "found 6145 bytes", "records of 3073",
                 "CIFAR-10's binary version");
}

TEST_F(Cifar10, ALabelThatIsNoneIsRefused) {
  write_batches(".bin");
  std::string batch = records(2, 0);
  batch[3073] = 10;
  scratch_.write("test_batch.bin", batch);
  expect_message(message(), "test_batch.bin] ", "label 10 in record 1", "expected 0 to 9");
}

TEST_F(Cifar10, APngBatchOfAnotherShapeOrKindIsRefused) {
  write_batches(".png");
  scratch_.write("data_batch_2.png", png_file(2, 1023, ""));
  expect_message(message(), "data_batch_2.png] ", "rows of 1023 pixels", "expected 1024");
  scratch_.write("data_batch_2.png", png_file(2, 1024, "", {0}));
  expect_message(message(), "data_batch_2.png] ", "8-bit gray", "expected 8-bit RGB");
  scratch_.write("data_batch_2.png", rows(2, 0).substr(0, 3000));
  expect_message(message(), "data_batch_2.png] ", "damaged", "truncated");
}

TEST_F(Cifar10, TooFewImagesAreRefused) {
  write_batches(".bin");
  for (int i = 0; i < 5; ++i) scratch_.write(batches[i] + ".bin", i ? "" : records(4, 0));
  expect_message(message(), "data_batch_1.bin] ", "found 4 images", "at least 5");
  write_batches(".bin");
  scratch_.write("test_batch.bin", "");
  expect_message(message(), "test_batch.bin] ", "found 0 images", "at least 1");
}

// ---- ImageNet32 -------------------------------------------------------------------------------

std::string archive(std::uint32_t count, std::uint32_t seed) {
  std::string tar = tar_member("images/", "", {'5'});
  for (std::uint32_t i = 0; i < count; ++i)
    tar += tar_member("images/" + std::to_string(i) + ".png",
                      png_file(32, 32, noise(image, seed + i)));
  return tar + tar_end();
}

class Imagenet32 : public testing::Test {
 protected:
  void write_archives(std::uint32_t training, std::uint32_t testing) const {
    scratch_.write("train_32x32.tar", archive(training, 100));
    scratch_.write("valid_32x32.tar", archive(testing, 200));
  }
  ImageSplits load() const { return load_imagenet32(scratch_.dir()); }
  std::string message() const {
    return message_of([&] { load(); });
  }

  Scratch scratch_;
};

TEST_F(Imagenet32, ASixthOfASmallTrainingSetIsForValidation) {
  write_archives(25, 3);
  const ImageSplits splits = load();
  EXPECT_EQ(splits.train.count(), 21);
  EXPECT_EQ(splits.validation.count(), 4);
  EXPECT_EQ(splits.test.count(), 3);
  EXPECT_EQ(splits.train.archive, splits.validation.archive);
  std::set<std::uint32_t> all(splits.train.members.begin(), splits.train.members.end());
  all.insert(splits.validation.members.begin(), splits.validation.members.end());
  EXPECT_EQ(all.size(), 25u);
}

TEST_F(Imagenet32, TheValidationImagesAreDrawnAtRandomButAlwaysTheSame) {
  write_archives(25, 3);
  const ImageSplits splits = load();
  EXPECT_EQ(splits.validation.members, load().validation.members);
  EXPECT_TRUE(std::is_sorted(splits.train.members.begin(), splits.train.members.end()));
  EXPECT_TRUE(std::is_sorted(splits.validation.members.begin(), splits.validation.members.end()));
  EXPECT_NE(splits.validation.members, (std::vector<std::uint32_t>{0, 1, 2, 3}));
  EXPECT_NE(splits.validation.members, (std::vector<std::uint32_t>{21, 22, 23, 24}));
  EXPECT_NE(checksum(splits.train), checksum(splits.validation));
}

TEST_F(Imagenet32, ImagesAreDecodedFromTheArchive) {
  write_archives(6, 2);
  const ImageSplits splits = load();
  const std::vector<std::uint32_t> second{1};
  const Tensor x = to_tensor(splits.test, second);
  EXPECT_EQ(x.shape(), (Shape{1, 3, 32, 32}));
  const std::string pixels = noise(image, 201);
  for (std::size_t channel = 0; channel < 3; ++channel)
    for (std::size_t pixel = 0; pixel < plane; ++pixel)
      ASSERT_EQ(x[channel * plane + pixel],
                static_cast<unsigned char>(pixels[3 * pixel + channel]));
}

TEST_F(Imagenet32, WhatIsMissingIsNamed) {
  expect_message(message_of([] { load_imagenet32("no/such/place"); }), "[no/such/place]",
                 "no such directory", "train_32x32.tar and valid_32x32.tar", "image-net.org");
  expect_message(message(), "valid_32x32.tar] ", "no such file", "image-net.org");
  scratch_.write("valid_32x32.tar", archive(1, 1));
  expect_message(message(), "train_32x32.tar] ", "no such file");
}

TEST_F(Imagenet32, BadArchivesAreNamed) {
  write_archives(6, 2);
  const std::string whole = archive(6, 100);
  scratch_.write("train_32x32.tar", whole.substr(0, whole.size() / 2));
  expect_message(message(), "train_32x32.tar] ", "truncated");
  scratch_.write("train_32x32.tar", gzip(whole));
  expect_message(message(), "train_32x32.tar] ", "gzip -d");
  for (const std::uint32_t side : {16u, 64u}) {
    const std::string small = tar_member("1.png", png_file(side, side, "")) + tar_end();
    scratch_.write("train_32x32.tar", small);
    expect_message(message(), "train_32x32.tar: 1.png] ", "expected 32 x 32");
  }
  scratch_.write("train_32x32.tar", tar_member("1.png", png_file(32, 32, "", {0})) + tar_end());
  expect_message(message(), "train_32x32.tar: 1.png] ", "8-bit gray", "expected 8-bit RGB");
}

TEST_F(Imagenet32, TooFewImagesAreRefused) {
  write_archives(5, 1);
  expect_message(message(), "train_32x32.tar] ", "found 5 images", "at least 6");
  write_archives(6, 0);
  expect_message(message(), "valid_32x32.tar] ", "found 0 images", "at least 1");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

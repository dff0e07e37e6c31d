#include "apps/io/images.h"

#include "tests/apps/io/idx_files.h"
#include "tests/apps/io/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

std::string message_of_loading(const Scratch& scratch) {
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
                 "no such directory", "apps/fetch_mnist.sh no/such/place");
}

TEST(Mnist, AMissingFileTellsHowToFetchIt) {
  const Scratch scratch;
  const std::string hint = "apps/fetch_mnist.sh " + scratch.dir().string();
  expect_message(message_of_loading(scratch), "train-images-idx3-ubyte", hint);
  scratch.write("train-images-idx3-ubyte", idx_file(6, 2, 2));
  expect_message(message_of_loading(scratch), "t10k-images-idx3-ubyte", hint);
}

TEST(Mnist, ADirectoryNamedLikeAFileIsNotTheFile) {
  const Scratch scratch;
  std::filesystem::create_directory(scratch / "train-images-idx3-ubyte");
  expect_message(message_of_loading(scratch), "no file train-images-idx3-ubyte");
}

TEST(Mnist, DifferentImageSizesAreRefused) {
  const Scratch scratch;
  scratch.write("train-images-idx3-ubyte", idx_file(6, 2, 2));
  scratch.write("t10k-images-idx3-ubyte", idx_file(6, 2, 3));
  expect_message(message_of_loading(scratch), "2 x 2", "2 x 3", "the same size");
}

TEST(Mnist, TooFewImagesAreRefused) {
  const Scratch scratch;
  scratch.write("train-images-idx3-ubyte", idx_file(5, 2, 2));
  scratch.write("t10k-images-idx3-ubyte", idx_file(0, 2, 2));
  expect_message(message_of_loading(scratch), "train-images", "found 5 images", "at least 6");
  scratch.write("train-images-idx3-ubyte", idx_file(6, 2, 2));
  expect_message(message_of_loading(scratch), "t10k-images", "found 0 images", "at least 1");
}

TEST(ToTensor, TakesTheImagesInTheOrderOfTheIndices) {
  const ImageSet images{2, 1, 2, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 255}};
  const std::vector<std::uint32_t> indices{2, 0, 2};
  const Tensor x = to_tensor(images, indices);
  EXPECT_EQ(x.shape(), (Shape{3, 2, 1, 2}));
  EXPECT_EQ(x.values(), (std::vector<Real>{8, 9, 10, 255, 0, 1, 2, 3, 8, 9, 10, 255}));
}

TEST(ToTensor, ManyImagesAreAllConverted) {
  ImageSet images{1, 4, 4, std::vector<std::uint8_t>(16 * 5000)};
  for (std::size_t i = 0; i < images.pixels.size(); ++i) images.pixels[i] = i % 251;
  std::vector<std::uint32_t> indices(5000);
  for (std::uint32_t i = 0; i < 5000; ++i) indices[i] = 4999 - i;
  const Tensor x = to_tensor(images, indices);
  for (Index i = 0; i < 5000; ++i)
    for (Index p = 0; p < 16; ++p) ASSERT_EQ(x[i * 16 + p], ((4999 - i) * 16 + p) % 251);
}

TEST(ToTensor, NoIndicesGiveNoImages) {
  EXPECT_EQ(to_tensor({1, 2, 2, {1, 2, 3, 4}}, {}).shape(), (Shape{0, 1, 2, 2}));
  EXPECT_EQ(to_tensor({}, {}).size(), 0);
}

TEST(ToTensor, AnIndexBeyondTheSetIsRefused) {
  const std::vector<std::uint32_t> indices{1};
  expect_message(message_of([&] {
                   to_tensor({1, 1, 1, {5}}, indices);
                 }),
                 "to_tensor", "no image 1", "set of 1");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

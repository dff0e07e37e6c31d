#include "backflow/apps/data/images.h"

#include "backflow/apps/data/png_archive.h"
#include "backflow/engine/parallel.h"
#include "backflow/tests/apps/files/png_files.h"
#include "backflow/tests/apps/files/scratch.h"
#include "backflow/tests/apps/files/tar_files.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

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

TEST(OneHotLabels, HaveAOneInTheColumnOfTheLabel) {
  ImageSet images{1, 1, 1, {5, 6, 7}};
  images.labels = {9, 0, 2};
  const Tensor labels = one_hot_labels(images, std::vector<std::uint32_t>{2, 0});
  EXPECT_EQ(labels.shape(), (Shape{2, 10}));
  std::vector<Real> expected(20);
  expected[2] = expected[10 + 9] = 1;
  EXPECT_EQ(labels.values(), expected);
  EXPECT_EQ(one_hot_labels(images, {}).shape(), (Shape{0, 10}));
}

TEST(OneHotLabels, WhatHasNoneIsRefused) {
  ImageSet images{1, 1, 1, {5, 6, 7}};
  const std::vector<std::uint32_t> last{2};
  expect_message(message_of([&] { one_hot_labels(images, last); }), "have no labels");
  images.labels = {1, 2};
  expect_message(message_of([&] { one_hot_labels(images, last); }), "no label 2", "set of 2");
  images.labels = {1, 2, 10};
  expect_message(message_of([&] { one_hot_labels(images, last); }), "0 to 9", "10");
}

TEST(ToTensor, AnArchiveGivesTheSameAsItsPixels) {
  constexpr int height = 8, width = 6, size = 3 * height * width;
  const Scratch scratch;
  std::string tar;
  ImageSet decoded{3, height, width};
  for (std::uint32_t i = 0; i < 300; ++i) {
    const std::string pixels = noise(size, i);
    tar += tar_member(std::to_string(i) + ".png", png_file(height, width, pixels));
    for (int channel = 0; channel < 3; ++channel)
      for (int at = channel; at < size; at += 3)
        decoded.pixels.push_back(static_cast<std::uint8_t>(pixels[at]));
  }
  ImageSet images{3, height, width};
  images.archive =
      std::make_shared<PngArchive>(scratch.write("x.tar", tar + tar_end()), 3, height, width);
  for (std::uint32_t i = 0; i < 299; ++i) images.members.push_back(299 - i);
  EXPECT_EQ(images.count(), 299);
  EXPECT_EQ(images.image_size(), size);
  const int before = threads();
  for (const int count : {1, 3}) {
    set_threads(count);
    std::vector<std::uint32_t> rows, same;
    for (std::uint32_t i = 0; i < 299; i += 2) {
      rows.push_back(i);
      same.push_back(299 - i);
    }
    const Tensor x = to_tensor(images, rows);
    EXPECT_EQ(x.shape(), (Shape{150, 3, height, width}));
    EXPECT_EQ(x.values(), to_tensor(decoded, same).values());
  }
  set_threads(before);
}

TEST(ToTensor, ABadImageOfAnArchiveIsNamed) {
  const Scratch scratch;
  std::string tar;
  for (int i = 0; i < 99; ++i) tar += tar_member(std::to_string(i) + ".png", png_file(2, 2, ""));
  tar += tar_member("d/bad.png", png_file(2, 2, "").substr(0, 60));
  ImageSet images{3, 2, 2};
  images.archive = std::make_shared<PngArchive>(scratch.write("x.tar", tar + tar_end()), 3, 2, 2);
  for (std::uint32_t i = 0; i < 100; ++i) images.members.push_back(i);
  expect_message(message_of([&] { to_tensor(images, images.members); }), "x.tar: d/bad.png] ",
                 "damaged");
  const std::vector<std::uint32_t> beyond{100};
  expect_message(message_of([&] { to_tensor(images, beyond); }), "no image 100", "set of 100");
}

TEST(Checksum, TellsSetsApart) {
  const ImageSet one{1, 1, 2, {1, 2, 3, 4}}, other{1, 1, 2, {1, 2, 3, 5}};
  EXPECT_EQ(checksum(one), 0xb63cfbcdu);  // CRC-32 of 01 02 03 04
  EXPECT_NE(checksum(one), checksum(other));
}

TEST(Checksum, OfAnArchiveIsOfTheImagesTaken) {
  const Scratch scratch;
  std::string tar;
  for (std::uint32_t i = 0; i < 3; ++i)
    tar += tar_member(std::to_string(i) + ".png", png_file(2, 2, noise(12, i)));
  ImageSet images{3, 2, 2};
  images.archive = std::make_shared<PngArchive>(scratch.write("x.tar", tar + tar_end()), 3, 2, 2);
  images.members = {0, 1};
  const std::uint32_t sum = checksum(images);
  EXPECT_EQ(checksum(images), sum);
  for (const std::vector<std::uint32_t>& members :
       {std::vector<std::uint32_t>{0, 2}, {1, 0}, {0}, {0, 1, 2}, {}}) {
    images.members = members;
    EXPECT_NE(checksum(images), sum);
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/apps/data/code_lengths.h"

#include <zlib.h>

#include "backflow/apps/files/gzip.h"
#include "backflow/apps/files/png.h"
#include "backflow/ops/random.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

std::vector<std::uint8_t> noise(Index count) {
  std::vector<std::uint8_t> bytes;
  for (Real u : Random(3).uniform({count}).values())
    bytes.push_back(static_cast<std::uint8_t>(256 * u));
  return bytes;
}

// What cannot be compressed is stored: in a gzip file between 10 bytes and 8, behind 5 of its
// block.
TEST(CodeLengths, OfNoiseAreItsBytesAndTheHeaders) {
  const ImageSet images{1, 28, 28, noise(784)};
  const CodeLengths lengths = code_lengths(images);
  EXPECT_DOUBLE_EQ(lengths.gzip, 8.0 * (784 + 23) / 784);
  EXPECT_DOUBLE_EQ(lengths.gzip_of_all, lengths.gzip);
  // A PNG file has 8 bytes, three chunks of 12 and their contents: 13, nothing, and a zlib stream
  // of 11 bytes around the rows, each with a byte for its filter.
  EXPECT_DOUBLE_EQ(lengths.png, 8.0 * (8 + 3 * 12 + 13 + 11 + 28 * 29) / 784);
}

TEST(CodeLengths, OfImagesThatAreAlikeAreShorterTogether) {
  ImageSet images{1, 28, 28, noise(784)};
  const double one = code_lengths(images).gzip;
  for (int copy = 0; copy < 9; ++copy)
    for (int i = 0; i < 784; ++i) images.pixels.push_back(images.pixels[i]);
  const CodeLengths ten = code_lengths(images);
  EXPECT_DOUBLE_EQ(ten.gzip, one);
  EXPECT_LT(ten.gzip_of_all, one / 8);
  EXPECT_DOUBLE_EQ(code_lengths(images, 1).gzip_of_all, one);
}

TEST(CodeLengths, OfColourAreThoseOfItsPngFile) {
  ImageSet images{3, 5, 4, noise(60)};
  for (std::size_t i = 0; i < 20; ++i) images.pixels[i] = 7;  // red
  Picture picture{3, 5, 4, std::vector<std::uint8_t>(60)};
  for (std::size_t i = 0; i < 20; ++i)
    for (std::size_t c = 0; c < 3; ++c) picture.pixels[3 * i + c] = images.pixels[20 * c + i];
  EXPECT_DOUBLE_EQ(code_lengths(images).png,
                   8.0 / 60 * static_cast<double>(encode_png(picture, "x").size()));
}

TEST(CodeLengths, OfNoImagesAreRefused) {
  EXPECT_EQ(error_of([] {
              code_lengths({1, 2, 2, {}});
            }),
            "[code_lengths] at least one image expected, got none");
}

// zlib's own stream has 6 bytes around the same data, where gzip has 18.
TEST(GzipLength, IsThatOfTheWholeHoweverItIsAdded) {
  std::vector<std::uint8_t> bytes = noise(100'000);
  for (std::uint8_t& byte : bytes) byte &= 15;
  uLongf size = compressBound(bytes.size());
  std::vector<std::uint8_t> compressed(size);
  ASSERT_EQ(compress2(compressed.data(), &size, bytes.data(), bytes.size(), 9), Z_OK);
  GzipLength length;
  for (int again = 0; again < 2; ++again) {
    for (std::size_t i = 0; i < bytes.size(); i += 777)
      length.add(std::span(bytes).subspan(i, std::min<std::size_t>(777, bytes.size() - i)));
    EXPECT_EQ(length.finish(), size + 12);
  }
  EXPECT_EQ(length.finish(), 20u);  // of nothing
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

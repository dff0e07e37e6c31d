#include "backflow/apps/files/png.h"

#include <png.h>

#include <cmath>
#include <limits>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/tests/apps/files/png_files.h"
#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Picture read_png(const std::filesystem::path& path) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_file(&image, path.c_str())) fail(path.string(), image.message);
  const bool color = image.format & PNG_FORMAT_FLAG_COLOR;
  image.format = color ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
  Picture picture{color ? 3 : 1, static_cast<int>(image.height), static_cast<int>(image.width), {}};
  picture.pixels.resize(PNG_IMAGE_SIZE(image));
  png_image_finish_read(&image, nullptr, picture.pixels.data(), 0, nullptr);
  return picture;
}

void expect_round_trip(const Picture& picture) {
  const Scratch scratch;
  write_png(scratch / "x.png", picture);
  const Picture read = read_png(scratch / "x.png");
  EXPECT_EQ(read.channels, picture.channels);
  EXPECT_EQ(read.height, picture.height);
  EXPECT_EQ(read.width, picture.width);
  EXPECT_EQ(read.pixels, picture.pixels);
}

TEST(Png, GrayPicturesSurviveARoundTrip) {
  expect_round_trip({1, 2, 3, {0, 1, 127, 128, 254, 255}});
}

TEST(Png, ColorPicturesSurviveARoundTrip) {
  expect_round_trip({3, 1, 3, {255, 0, 0, 0, 255, 0, 1, 2, 3}});
}

TEST(Png, ThePixelsMustFillThePicture) {
  const Scratch scratch;
  for (const Picture& bad : {Picture{1, 2, 2, {1, 2, 3}}, Picture{2, 1, 1, {1, 2}}, Picture{}})
    expect_message(message_of([&] { write_png(scratch / "x.png", bad); }), "x.png]",
                   "expected 1 or 3 channels");
  EXPECT_EQ(scratch.files(), 0);
}

TEST(Png, AnUnwritablePathIsNamed) {
  const Scratch scratch;
  expect_message(message_of([&] {
                   write_png(scratch / "none/x.png", {1, 1, 1, {7}});
                 }),
                 "none/x.png", "cannot write");
}

TEST(DecodePng, GrayAndColorAreReadAsTheyAreStored) {
  const std::string gray = noise(5 * 7), color = noise(5 * 7 * 3);
  const std::string gamma = png_chunk("gAMA", big_endian(100'000));  // linear
  for (const std::string& chunks : {std::string(), gamma}) {
    const Picture one = decode_png(png_file(5, 7, gray, {0}, chunks), 1, "x");
    EXPECT_EQ(one.channels, 1);
    EXPECT_EQ(one.height, 5);
    EXPECT_EQ(one.width, 7);
    EXPECT_EQ(std::string(one.pixels.begin(), one.pixels.end()), gray);
    const Picture three = decode_png(png_file(5, 7, color, {2}, chunks), 3, "x");
    EXPECT_EQ(three.channels, 3);
    EXPECT_EQ(std::string(three.pixels.begin(), three.pixels.end()), color);
  }
}

TEST(DecodePng, WrittenPicturesAreReadBack) {
  const Scratch scratch;
  for (const int channels : {1, 3}) {
    const std::string bytes = noise(static_cast<std::size_t>(12 * channels));
    write_png(scratch / "x.png", {channels, 3, 4, {bytes.begin(), bytes.end()}});
    const Picture picture = decode_png(read_file(scratch / "x.png"), channels, "x");
    EXPECT_EQ(std::string(picture.pixels.begin(), picture.pixels.end()), bytes);
  }
}

TEST(DecodePng, OtherKindsAreRefused) {
  const auto message = [](PngKind kind, int channels) {
    return message_of([&] { decode_png(png_file(2, 2, "", kind), channels, "here"); });
  };
  expect_message(message({0}, 3), "[here] ", "found a PNG image in 8-bit gray,",
                 "expected 8-bit RGB;");
  expect_message(message({2}, 1), "[here] ", "found a PNG image in 8-bit RGB,",
                 "expected 8-bit gray;");
  expect_message(message({4}, 1), "8-bit gray with alpha", "expected 8-bit gray;");
  expect_message(message({6}, 3), "8-bit RGB with alpha", "expected 8-bit RGB;");
  expect_message(message({3}, 3), "8-bit palette", "expected 8-bit RGB;");
  expect_message(message({2, 16}, 3), "16-bit RGB", "expected 8-bit RGB;");
  expect_message(message({0, 1}, 1), "1-bit gray", "expected 8-bit gray;");
}

TEST(DecodePng, EveryTruncationIsRefused) {
  const std::string whole = png_file(4, 4, noise(48));
  for (std::size_t size = 0; size < whole.size(); ++size)
    expect_message(message_of([&] { decode_png(whole.substr(0, size), 3, "here"); }),
                   "[here] the PNG file is damaged", "truncated", "fetch it again");
}

TEST(DecodePng, EveryDamagedByteIsRefused) {
  const std::string whole = png_file(4, 4, noise(48));
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string damaged = whole;
    damaged[at] ^= 8;
    expect_message(message_of([&] { decode_png(damaged, 3, "here"); }), "[here] ", "damaged");
  }
}

TEST(DecodePng, TooFewRowsAreRefused) {
  std::string file = png_file(4, 4, noise(48));
  const std::string header = png_file(5, 4, noise(48)).substr(0, 33);  // with 5 rows
  expect_message(message_of([&] { decode_png(file.replace(0, 33, header), 3, "here"); }), "[here] ",
                 "damaged");
}

TEST(DecodePng, AbsurdSizesAreRefusedBeforeMemoryIsAskedFor) {
  std::string file = png_file(1, 1, "");
  const std::string header =
      big_endian(1'000'000) + big_endian(1'000'000) + std::string("\x08\x02\0\0\0", 5);
  file.replace(8, 25, png_chunk("IHDR", header));
  expect_message(message_of([&] { decode_png(file, 3, "here"); }), "[here] ", "damaged",
                 "too short");
}

TEST(ToPlanes, ChannelsComeApart) {
  const std::vector<std::uint8_t> pixels{1, 2, 3, 4, 5, 6};
  std::vector<Real> planes(6);
  to_planes(pixels.data(), 2, 3, planes.data());
  EXPECT_EQ(planes, (std::vector<Real>{1, 4, 2, 5, 3, 6}));
}

TEST(ImageGrid, ImagesStandRowByRowInADarkFrame) {
  const Picture grid = image_grid(Tensor({3, 1, 1, 2}, {1, 2, 3, 4, 5, 6}), 2, 1);
  const std::uint8_t d = grid.pixels[0];
  EXPECT_LT(d, 64);
  EXPECT_EQ(grid.channels, 1);
  EXPECT_EQ(grid.height, 5);
  EXPECT_EQ(grid.width, 7);
  EXPECT_EQ(grid.pixels, (std::vector<std::uint8_t>{d, d, d, d, d, d, d,  //
                                                    d, 1, 2, d, 3, 4, d,  //
                                                    d, d, d, d, d, d, d,  //
                                                    d, 5, 6, d, d, d, d,  //
                                                    d, d, d, d, d, d, d}));
}

TEST(ImageGrid, ChannelsBecomeColors) {
  const Picture grid = image_grid(Tensor({1, 3, 1, 2}, {1, 2, 10, 20, 100, 200}), 1, 0);
  EXPECT_EQ(grid.channels, 3);
  EXPECT_EQ(grid.pixels, (std::vector<std::uint8_t>{1, 10, 100, 2, 20, 200}));
}

TEST(ImageGrid, ScaleMakesSquaresOfPixels) {
  const Picture grid = image_grid(Tensor({1, 1, 1, 2}, {7, 9}), 1, 0, 2);
  EXPECT_EQ(grid.height, 2);
  EXPECT_EQ(grid.pixels, (std::vector<std::uint8_t>{7, 7, 9, 9, 7, 7, 9, 9}));
}

TEST(ImageGrid, ValuesAreRoundedAndClamped) {
  const Picture grid = image_grid(Tensor({1, 1, 1, 4}, {-5, 1.4, 1.6, 1e9}), 1, 0);
  EXPECT_EQ(grid.pixels, (std::vector<std::uint8_t>{0, 1, 2, 255}));
}

TEST(ImageGrid, AGridIsNoWiderThanItsImages) {
  EXPECT_EQ(image_grid(Tensor::zeros({3, 1, 1, 1}), 100, 0).width, 3);
}

TEST(ImageGrid, NonFiniteValuesAreRefused) {
  for (const Real bad :
       {std::numeric_limits<Real>::quiet_NaN(), std::numeric_limits<Real>::infinity()})
    expect_message(message_of([&] {
                     image_grid(Tensor({1, 1, 1, 2}, {0, bad}), 1);
                   }),
                   "image_grid", std::isnan(bad) ? "nan" : "inf", "expected finite");
}

TEST(ImageGrid, WhatIsNotABatchOfImagesIsRefused) {
  for (const Shape& shape : {Shape{2, 2}, Shape{1, 2, 4, 4}, Shape{0, 1, 4, 4}})
    expect_message(message_of([&] { image_grid(Tensor::zeros(shape), 1); }), "image_grid",
                   "expected (n, 1 or 3, height, width)");
}

TEST(ImageGrid, ImpossibleLayoutsAreRefused) {
  const Tensor x = Tensor::zeros({1, 1, 1, 1});
  expect_message(message_of([&] { image_grid(x, 0); }), "0 columns");
  expect_message(message_of([&] { image_grid(x, 1, -1); }), "padding -1");
  expect_message(message_of([&] { image_grid(x, 1, 0, 0); }), "scale 0");
  expect_message(message_of([&] { image_grid(x, 1, 0, 2'000'000); }), "at most 1000000");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

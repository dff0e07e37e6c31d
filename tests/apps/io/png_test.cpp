#include "apps/io/png.h"

#include <png.h>

#include <cmath>
#include <limits>

#include "apps/io/atomic_file.h"
#include "tests/apps/io/scratch.h"

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

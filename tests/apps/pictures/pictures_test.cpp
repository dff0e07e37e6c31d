#include "backflow/apps/pictures/pictures.h"

#include <png.h>

#include <limits>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/apps/files/png.h"
#include "backflow/tests/apps/model/small_model.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr int tile = 4 * 2;     // pixels are drawn twice as large,
constexpr int step = tile + 2;  // two dark ones apart

Picture read_png(const std::filesystem::path& path) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_file(&image, path.c_str())) fail(path.string(), image.message);
  image.format = PNG_FORMAT_GRAY;
  Picture picture{1, static_cast<int>(image.height), static_cast<int>(image.width), {}};
  picture.pixels.resize(PNG_IMAGE_SIZE(image));
  png_image_finish_read(&image, nullptr, picture.pixels.data(), 0, nullptr);
  return picture;
}

std::vector<std::uint8_t> tile_at(const Picture& picture, int row, int column) {
  std::vector<std::uint8_t> pixels;
  for (int y = 2 + row * step; y < 2 + row * step + tile; ++y)
    for (int x = 2 + column * step; x < 2 + column * step + tile; ++x)
      pixels.push_back(picture.pixels[static_cast<std::size_t>(y) * picture.width + x]);
  return pixels;
}

// The layers have moved from the identity, and R is near W^-1 but not equal.
struct TrainedModel : Model {
  explicit TrainedModel(const std::string& layer = "self_normalizing")
      : Model(small_config(layer), small_image) {
    const auto optimizer = make_optimizer(small_config(layer), *this);
    train_a_little(*this, *optimizer, small_config(layer));
  }
};

Picture samples(const Model& model, const SampleOptions& options) {
  const Scratch scratch;
  save_samples(scratch / "x.png", model, options);
  return read_png(scratch / "x.png");
}

Picture reconstruction(const Model& model, Index count) {
  const Scratch scratch;
  save_reconstruction(scratch / "x.png", model, image_batch(count));
  return read_png(scratch / "x.png");
}

TEST(Samples, StandInASquare) {
  const TrainedModel model;
  for (const auto& [count, rows, columns] :
       {std::array{1, 1, 1}, {4, 2, 2}, {5, 2, 3}, {9, 3, 3}, {64, 8, 8}}) {
    const Picture picture = samples(model, {.count = count});
    EXPECT_EQ(picture.height, rows * step + 2) << count;
    EXPECT_EQ(picture.width, columns * step + 2) << count;
  }
}

TEST(Samples, AreAFunctionOfTheSeed) {
  for (const std::string& layer : small_layers) {
    const TrainedModel model(layer);
    EXPECT_EQ(samples(model, {.seed = 1}).pixels, samples(model, {.seed = 1}).pixels);
    EXPECT_NE(samples(model, {.seed = 1}).pixels, samples(model, {.seed = 2}).pixels);
  }
}

TEST(Samples, OfMoreImagesBeginWithTheSame) {
  const TrainedModel model;
  const Picture four = samples(model, {.count = 4}), nine = samples(model, {.count = 9});
  EXPECT_EQ(tile_at(four, 0, 0), tile_at(nine, 0, 0));
  EXPECT_EQ(tile_at(four, 1, 0), tile_at(nine, 0, 2));
}

TEST(Samples, AtTemperatureZeroAreAllEqual) {
  const Picture picture = samples(TrainedModel(), {.count = 4, .temperature = 0});
  EXPECT_EQ(tile_at(picture, 0, 0), tile_at(picture, 0, 1));
  EXPECT_EQ(tile_at(picture, 0, 0), tile_at(picture, 1, 1));
  const Picture warm = samples(TrainedModel(), {.count = 4});
  EXPECT_NE(tile_at(warm, 0, 0), tile_at(warm, 0, 1));
}

TEST(Samples, ByTheLearnedInverseAreNotThoseByTheExactOne) {
  const TrainedModel model;
  EXPECT_NE(samples(model, {.inverse = Inverse::learned}).pixels,
            samples(model, {.inverse = Inverse::exact}).pixels);
  const TrainedModel exact("exact");  // has only one
  EXPECT_EQ(samples(exact, {.inverse = Inverse::learned}).pixels,
            samples(exact, {.inverse = Inverse::exact}).pixels);
}

TEST(Samples, ThatAreNotFiniteAreRefusedAndNothingIsWritten) {
  const TrainedModel model;
  const Scratch scratch;
  parameter_of(model, "4.weight_inv")
      .set(Tensor::full({16, 16}, std::numeric_limits<Real>::quiet_NaN()));
  expect_message(message_of([&] { save_samples(scratch / "x.png", model, {}); }), "nan",
                 "expected finite numbers", "diverged?");
  EXPECT_THROW(save_samples(scratch / "x.png", model, {}), NotFinite);  // training goes on then
  EXPECT_EQ(scratch.files(), 0);
}

TEST(Samples, AnUnwritablePathIsNamed) {
  expect_message(message_of([] { save_samples("no/such/x.png", TrainedModel(), {}); }),
                 "[no/such/x.png]", "cannot write");
}

TEST(Reconstruction, ShowsImagesTheirInverseAndTheDifference) {
  const Picture picture = reconstruction(TrainedModel("exact"), 3);
  EXPECT_EQ(picture.height, 3 * step + 2);
  EXPECT_EQ(picture.width, 3 * step + 2);
  const Tensor images = image_batch(3);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(tile_at(picture, 0, i)[0], images[i * 16]);
    EXPECT_EQ(tile_at(picture, 1, i), tile_at(picture, 0, i));
    EXPECT_EQ(tile_at(picture, 2, i), std::vector<std::uint8_t>(tile * tile, 0));
  }
}

TEST(Reconstruction, IsThatOfTheLearnedInverse) {
  const TrainedModel model;
  parameter_of(model, "4.weight_inv").set(Tensor::zeros({16, 16}));
  const Picture picture = reconstruction(model, 2);
  EXPECT_NE(tile_at(picture, 1, 0), tile_at(picture, 0, 0));
  EXPECT_EQ(tile_at(picture, 1, 0), tile_at(picture, 1, 1));  // of every image the same
  for (int i = 0; i < 2; ++i) {
    const auto image = tile_at(picture, 0, i), inverse = tile_at(picture, 1, i);
    const auto difference = tile_at(picture, 2, i);
    for (std::size_t p = 0; p < image.size(); ++p)
      EXPECT_EQ(difference[p], std::abs(image[p] - inverse[p]));
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

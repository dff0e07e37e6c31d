#include "backflow/apps/pictures/pictures.h"

#include <png.h>

#include <limits>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/apps/files/png.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/apps/model/small_model.h"
#include "backflow/tests/apps/pictures/program_path.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr int scale = 2;             // pixels are drawn twice as large,
constexpr int step = 4 * scale + 2;  // two dark ones apart

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

// An image of a square of samples, or of a grid to the right of words that is drawn larger.
std::vector<std::uint8_t> tile_at(const Picture& picture, int row, int column, int left = 0,
                                  int drawn = scale) {
  std::vector<std::uint8_t> pixels;
  const int side = 4 * drawn;
  for (int y = 2 + row * (side + 2); y < 2 + row * (side + 2) + side; ++y)
    for (int x = 2 + column * (side + 2); x < 2 + column * (side + 2) + side; ++x)
      pixels.push_back(picture.pixels[static_cast<std::size_t>(y) * picture.width + left + x]);
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

constexpr int words_width = 180, large = 14;  // beside words, so that three lines fit

Picture reconstruction(const Model& model, Index count) {
  const Scratch scratch;
  save_reconstruction(scratch / "x.png", model, image_batch(count));
  return read_png(scratch / "x.png");
}

std::vector<std::uint8_t> image_at(const Picture& picture, int row, int column) {
  return tile_at(picture, row, column, words_width, large);
}

bool has_ink(const Picture& picture, int left, int right, int top, int bottom) {
  for (int y = top; y < bottom; ++y)
    for (int x = left; x < right; ++x)
      if (picture.pixels[static_cast<std::size_t>(y) * picture.width + x] < 128) return true;
  return false;
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

// Four kinds in turn, 0, 1, 2, 3, 0, 1: the sample is all of its number.
TEST(Samples, OfSeveralKindsStandInARowForEach) {
  const Scratch scratch;
  Tensor six = Tensor::zeros({6, 1, 4, 4});
  for (Index i = 0; i < six.size(); ++i) six.mutable_data()[i] = static_cast<Real>(i / 16 + 1);
  save_samples(scratch / "x.png", six, 4);
  const Picture picture = read_png(scratch / "x.png");
  EXPECT_EQ(picture.height, 4 * step + 2);
  EXPECT_EQ(picture.width, 2 * step + 2);
  const int expected[4][2] = {{1, 5}, {2, 6}, {3, 0}, {4, 0}};
  for (int row = 0; row < 4; ++row)
    for (int column = 0; column < 2; ++column)
      EXPECT_EQ(tile_at(picture, row, column),
                std::vector<std::uint8_t>(64, static_cast<std::uint8_t>(expected[row][column])))
          << row << ", " << column;
  save_samples(scratch / "x.png", slice(six, 0, 0, 2), 4);
  EXPECT_EQ(read_png(scratch / "x.png").height, 2 * step + 2);  // no rows of kinds without any
}

TEST(Samples, OfAModelToldTheLabelAreOfEachLabelInTurn) {
  Config config = find_experiment("realnvp_mnist").config;
  config.width = 8, config.context = "label";
  const Model model(config, small_image);
  const Tensor some = draw_samples(model, {.count = 12, .temperature = 0});
  const Tensor all = draw_samples(model, {.temperature = 0});
  EXPECT_EQ(all.size(0), 80);
  EXPECT_EQ(slice(all, 0, 0, 12).values(), some.values());
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

TEST(Samples, WithACaptionAreTheSameAboveIt) {
  const TrainedModel model;
  const Tensor x = draw_samples(model, {.count = 9});
  const Picture plain = samples(model, {.count = 9});
  const Scratch scratch;
  EXPECT_TRUE(save_captioned_samples(scratch / "x.png", x, {"nine samples", "and a number"}));
  const Picture page = read_png(scratch / "x.png");
  for (int row = 0; row < 3; ++row)
    for (int column = 0; column < 3; ++column)
      EXPECT_EQ(tile_at(page, row, column), tile_at(plain, row, column));
  EXPECT_EQ(page.height, plain.height + 3 * 18);
  EXPECT_TRUE(has_ink(page, 0, page.width, plain.height + 9, plain.height + 27));
  EXPECT_TRUE(has_ink(page, 0, page.width, plain.height + 28, plain.height + 45));

  const ProgramPath nowhere(scratch.dir());
  EXPECT_FALSE(save_captioned_samples(scratch / "x.png", x, {"nine samples"}));
  EXPECT_EQ(tile_at(read_png(scratch / "x.png"), 2, 2), tile_at(plain, 2, 2));
}

TEST(MeanDifference, IsAPartOfAPixelsRange) {
  const Tensor a({1, 1, 1, 4}, {0, 255, 100, 10}), b({1, 1, 1, 4}, {255, 255, 100, 61});
  EXPECT_NEAR(mean_difference(a, b), (1 + 0.2) / 4, 1e-6);
  EXPECT_EQ(mean_difference(a, a), 0);
}

TEST(MeanDifference, CountsAPixelAsItIsDrawn) {
  EXPECT_EQ(mean_difference(Tensor({2}, {-1000, 300}), Tensor({2}, {0, 255})), 0);
  EXPECT_TRUE(std::isnan(
      mean_difference(Tensor({1}, {std::numeric_limits<Real>::quiet_NaN()}), Tensor({1}, {0}))));
}

TEST(MeanDifference, OfSamplesByBothInversesShrinksAsTheyAgree) {
  const auto apart = [](const Model& model) {
    return mean_difference(draw_samples(model, {.inverse = Inverse::learned}),
                           draw_samples(model, {.inverse = Inverse::exact}));
  };
  const Model untrained(small_config(), small_image);  // begins at R = W^-1
  const TrainedModel trained;
  EXPECT_LT(apart(untrained), 1e-3);
  EXPECT_GT(apart(trained), 10 * apart(untrained));
}

TEST(Reconstruction, ShowsImagesTheirInverseAndTheDifference) {
  const Picture picture = reconstruction(TrainedModel("exact"), 3);
  const int side = 3 * (4 * large + 2) + 2;
  EXPECT_EQ(picture.height, side);
  EXPECT_EQ(picture.width, words_width + side);
  const Tensor images = image_batch(3);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(image_at(picture, 0, i)[0], images[i * 16]);
    EXPECT_EQ(image_at(picture, 1, i), image_at(picture, 0, i));
    EXPECT_EQ(image_at(picture, 2, i), std::vector<std::uint8_t>(4 * large * 4 * large, 0));
  }
}

TEST(Reconstruction, NamesItsRows) {
  const Scratch scratch;
  const auto save = [&] {
    return save_reconstruction(scratch / "x.png", TrainedModel(), image_batch(2)).captions;
  };
  EXPECT_TRUE(save());
  const int row = 4 * large + 2;
  const Picture named = read_png(scratch / "x.png");
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(has_ink(named, 0, words_width, i * row, (i + 1) * row));
  const ProgramPath nowhere(scratch.dir());
  EXPECT_FALSE(save());
  const Picture nameless = read_png(scratch / "x.png");
  EXPECT_FALSE(has_ink(nameless, 0, words_width, 0, nameless.height));
  EXPECT_EQ(image_at(nameless, 0, 1), image_at(named, 0, 1));
}

TEST(Reconstruction, TellsHowFarApart) {
  const Scratch scratch;
  const auto apart = [&](const Model& model) {
    return save_reconstruction(scratch / "x.png", model, image_batch(2)).difference;
  };
  EXPECT_LT(apart(TrainedModel("exact")), 1e-4);
  const TrainedModel model;
  parameter_of(model, "4.weight_inv").set(Tensor::zeros({16, 16}));
  EXPECT_GT(apart(model), 0.1);
}

TEST(Reconstruction, IsThatOfTheLearnedInverse) {
  const TrainedModel model;
  parameter_of(model, "4.weight_inv").set(Tensor::zeros({16, 16}));
  const Picture picture = reconstruction(model, 2);
  EXPECT_NE(image_at(picture, 1, 0), image_at(picture, 0, 0));
  EXPECT_EQ(image_at(picture, 1, 0), image_at(picture, 1, 1));  // of every image the same
  for (int i = 0; i < 2; ++i) {
    const auto image = image_at(picture, 0, i), inverse = image_at(picture, 1, i);
    const auto difference = image_at(picture, 2, i);
    for (std::size_t p = 0; p < image.size(); ++p)
      EXPECT_EQ(difference[p], std::abs(image[p] - inverse[p]));
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

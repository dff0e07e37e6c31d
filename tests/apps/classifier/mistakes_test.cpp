#include "backflow/apps/classifier/mistakes.h"

#include "backflow/apps/files/atomic_file.h"
#include "backflow/apps/files/png.h"
#include "backflow/tests/apps/files/scratch.h"
#include "backflow/tests/apps/pictures/program_path.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Four images of three classes. The last two are mistakes, the last one the surer.
Predictions four() {
  return {Tensor({4, 3}, {0.8f, 0.1f, 0.1f, 0.2f, 0.5f, 0.3f, 0.3f, 0.3f, 0.4f, 0.9f, 0, 0.1f}),
          {0, 1, 1, 2},
          {"a", "b", "c"}};
}

// 2 x 2 pixels each, all of one gray: 10, 20, 30 and 40.
ImageSet four_images() {
  ImageSet images{1, 2, 2, {}};
  for (const std::uint8_t gray : {10, 20, 30, 40})
    images.pixels.insert(images.pixels.end(), 4, gray);
  return images;
}

using Colour = std::array<int, 3>;

class Mistakes : public testing::Test {
 protected:
  std::filesystem::path png() const { return scratch_ / "x.png"; }
  Picture picture() const { return decode_png(read_file(png()), 3, "x.png"); }
  static Colour pixel(const Picture& picture, int row, int column) {
    const auto* p = picture.pixels.data() + (row * picture.width + column) * 3;
    return {p[0], p[1], p[2]};
  }
  Scratch scratch_;
};

// The field of a class and a prediction, at its upper left, where no number is.
Colour field_at(const Picture& picture, int label, int predicted) {
  const int row = 122 + 56 * label + 3, column = 130 + 56 * predicted + 3;
  const auto* p = picture.pixels.data() + (row * picture.width + column) * 3;
  return {p[0], p[1], p[2]};
}

TEST_F(Mistakes, TheConfusionIsGreenWhereTheClassifierIsRightAndRedElsewhere) {
  const MistakesPicture saved = save_confusion(png(), four());
  EXPECT_EQ(saved.mistakes, 2);
  EXPECT_TRUE(saved.captions);
  const Picture page = picture();
  const Colour right = field_at(page, 0, 0), wrong = field_at(page, 2, 0);
  EXPECT_GT(right[1], right[0] + 100);
  EXPECT_GT(right[1], right[2] + 100);
  EXPECT_GT(wrong[0], wrong[1] + 100);
  EXPECT_EQ(field_at(page, 0, 1), (Colour{255, 255, 255}));
  EXPECT_EQ(field_at(page, 2, 2), (Colour{255, 255, 255}));
  // Half of class 1 was right: paler than all of class 0.
  EXPECT_GT(field_at(page, 1, 1)[0], right[0]);
  EXPECT_LT(field_at(page, 1, 1)[0], 255);
}

TEST_F(Mistakes, TheConfusionHasANumberInEachField) {
  save_confusion(png(), four());
  const Picture page = picture();
  for (int label = 0; label < 3; ++label)
    for (int predicted = 0; predicted < 3; ++predicted) {
      int darkest = 255;
      for (int y = -10; y <= 10; ++y)
        for (int x = -10; x <= 10; ++x)
          darkest = std::min(
              darkest, pixel(page, 122 + 56 * label + 28 + y, 130 + 56 * predicted + 28 + x)[1]);
      EXPECT_LT(darkest, 80) << label << " taken for " << predicted;
    }
}

TEST_F(Mistakes, TheSurestComesFirst) {
  const MistakesPicture saved = save_mistakes(png(), four_images(), four());
  EXPECT_EQ(saved.mistakes, 2);
  EXPECT_TRUE(saved.captions);
  const Picture page = picture();
  EXPECT_EQ(pixel(page, 44 + 50, 16 + 50), (Colour{40, 40, 40}));
  EXPECT_EQ(pixel(page, 44 + 50, 16 + 164 + 50), (Colour{30, 30, 30}));
  EXPECT_EQ(pixel(page, 44 + 50, 16 + 2 * 164 + 50), (Colour{255, 255, 255}));
}

TEST_F(Mistakes, AtMost32AreShown) {
  constexpr int count = 40;
  Predictions all{Tensor::zeros({count, 2}), {}, {"0", "1"}};
  ImageSet images{1, 1, 1, {}};
  for (int i = 0; i < count; ++i) {
    all.probabilities.mutable_data()[2 * i] = 1;
    all.labels.push_back(1);
    images.pixels.push_back(static_cast<std::uint8_t>(i));
  }
  EXPECT_EQ(save_confusion(png(), all).mistakes, count);
  EXPECT_EQ(save_mistakes(png(), images, all).mistakes, 32);
  // Equally sure ones are in the order of the images.
  EXPECT_EQ(pixel(picture(), 44 + 50 + 3 * (112 + 60), 16 + 50 + 7 * 164), (Colour{31, 31, 31}));
}

TEST_F(Mistakes, WhereThereAreNoneNoPictureIsLeft) {
  Predictions right = four();
  for (std::size_t i = 0; i < 4; ++i) right.labels[i] = right.predicted(static_cast<Index>(i));
  scratch_.write("x.png", "of another day");
  EXPECT_EQ(save_mistakes(png(), four_images(), right).mistakes, 0);
  EXPECT_FALSE(std::filesystem::exists(png()));
  EXPECT_EQ(save_confusion(png(), right).mistakes, 0);
  EXPECT_TRUE(std::filesystem::exists(png()));
}

TEST_F(Mistakes, WithoutGnuplotAreDrawnWithoutWords) {
  const ProgramPath nowhere(scratch_.dir());
  EXPECT_FALSE(save_confusion(png(), four()).captions);
  EXPECT_FALSE(save_mistakes(png(), four_images(), four()).captions);
  EXPECT_EQ(pixel(picture(), 44 + 50, 16 + 50), (Colour{40, 40, 40}));
}

TEST_F(Mistakes, PredictionsThatDoNotFitAreRefused) {
  const auto refused = [&](const auto& change) {
    Predictions bad = four();
    change(bad);
    return message_of([&] { save_confusion(png(), bad); });
  };
  expect_message(refused([](Predictions& p) { p.names.pop_back(); }), "save_confusion",
                 "shape (4, 3), expected (4, 2)");
  expect_message(refused([](Predictions& p) { p.labels.pop_back(); }), "expected (3, 3)");
  expect_message(refused([](Predictions& p) { p.probabilities = {}; }), "save_confusion");
  expect_message(refused([](Predictions& p) { p.labels[1] = 3; }), "the label 3, expected 0 to 2");
  expect_message(refused([](Predictions& p) { p.labels[1] = -1; }), "the label -1");
  expect_message(message_of([&] {
                   save_mistakes(png(), ImageSet{1, 2, 2, {1, 2, 3, 4}}, four());
                 }),
                 "save_mistakes", "found 1 images, expected 4");
  EXPECT_EQ(scratch_.files(), 0);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

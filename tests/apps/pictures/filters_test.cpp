#include "backflow/apps/pictures/filters.h"

#include "backflow/apps/files/atomic_file.h"
#include "backflow/apps/files/png.h"
#include "backflow/tests/apps/model/small_model.h"
#include "backflow/tests/apps/pictures/program_path.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Config convolutions() {
  Config config = find_experiment("selfnorm_cnn_mnist").config;
  config.num_blocks = 2, config.block_size = 1;
  return config;
}

using Colour = std::array<int, 3>;
constexpr Colour red{255, 0, 0}, blue{0, 0, 255}, white{255, 255, 255};

// Where a page's panels begin, and how far apart they are; and the bar below a panel of this
// height.
constexpr int panels_top = 108, panels_left = 24, panel_step = 252 + 36;
constexpr int bar_top(int panel_height) { return panels_top + panel_height + 18; }

class Filters : public testing::Test {
 protected:
  Picture saved(const std::string& name) const {
    return decode_png(read_file(scratch_ / "filters" / name), 3, name);
  }
  static Colour pixel(const Picture& picture, int row, int column) {
    const auto* p = picture.pixels.data() + (row * picture.width + column) * 3;
    return {p[0], p[1], p[2]};
  }
  Scratch scratch_;
};

TEST_F(Filters, ShowWAndRAndRFlippedOfEachSelfNormalizingConvolution) {
  const Model model(convolutions(), small_image);
  // Layer 4 has one kernel of 3 x 3, at 64 pixels a weight.
  parameter_of(model, "4.weight_fwd").set(Tensor({1, 1, 3, 3}, {0, 0.5, 0, 0, 2, 0, 0, 0, -2}));
  parameter_of(model, "4.weight_inv").set(Tensor({1, 1, 3, 3}, {0, 0, 0, 0, 0, 0, -5, 0, 5}));
  EXPECT_EQ(save_filters(scratch_ / "filters", model).files, 2);
  const Picture one = saved("layer_04.png");
  const auto weight = [&](int panel, int row, int column) {
    return pixel(one, panels_top + 64 * row + 32,
                 panels_left + panel * panel_step + 64 * column + 32);
  };
  EXPECT_EQ(weight(0, 1, 1), red);
  EXPECT_EQ(weight(0, 2, 2), blue);
  EXPECT_EQ(weight(0, 0, 0), white);
  EXPECT_EQ(weight(0, 0, 1), (Colour{255, 128, 128}));  // a quarter of the largest: half the depth
  EXPECT_EQ(weight(1, 2, 0), blue);
  EXPECT_EQ(weight(1, 2, 2), red);
  EXPECT_EQ(weight(2, 0, 2), blue);  // R from the other end
  EXPECT_EQ(weight(2, 0, 0), red);
  EXPECT_EQ(weight(2, 2, 2), white);
  // 4 x 4 kernels after the squeeze, of 24 pixels a weight, a pixel apart.
  EXPECT_EQ(saved("layer_07.png").height, bar_top(4 * (3 * 24 + 1) + 1) + 14 + 34);
}

TEST_F(Filters, NameTheColourScaleOfEachPanel) {
  const Model model(convolutions(), small_image);
  EXPECT_TRUE(save_filters(scratch_ / "filters", model).captions);
  const Picture one = saved("layer_04.png");
  const int height = 3 * 64 + 2;
  for (int panel = 0; panel < 3; ++panel) {
    const int left = panels_left + panel * panel_step, row = bar_top(height) + 7;
    EXPECT_EQ(pixel(one, row, left + 1), blue);
    EXPECT_EQ(pixel(one, row, left + 240), red);
    bool words = false;
    for (int y = bar_top(height) + 16; y < one.height; ++y)
      for (int x = left; x < left + 40; ++x) words = words || pixel(one, y, x) != white;
    EXPECT_TRUE(words) << "no number below the bar of panel " << panel;
  }
}

TEST_F(Filters, WithoutGnuplotAreTheSameWithoutWords) {
  const Model model(convolutions(), small_image);
  save_filters(scratch_ / "filters", model);
  const Picture with_words = saved("layer_04.png");
  const ProgramPath nowhere(scratch_.dir());
  const FilterPictures plain = save_filters(scratch_ / "filters", model);
  EXPECT_EQ(plain.files, 2);
  EXPECT_FALSE(plain.captions);
  const Picture without = saved("layer_04.png");
  EXPECT_EQ(without.width, with_words.width);
  EXPECT_EQ(without.height, with_words.height);
  EXPECT_NE(without.pixels, with_words.pixels);
}

TEST_F(Filters, OfOtherLayersAreNotDrawn) {
  const FilterPictures none =
      save_filters(scratch_ / "filters", Model(small_config(), small_image));
  EXPECT_EQ(none.files, 0);
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "filters"));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

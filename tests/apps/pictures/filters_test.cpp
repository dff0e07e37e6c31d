#include "backflow/apps/pictures/filters.h"

#include "backflow/apps/files/atomic_file.h"
#include "backflow/apps/files/png.h"
#include "backflow/tests/apps/model/small_model.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Config convolutions() {
  Config config = find_experiment("selfnorm_cnn_mnist").config;
  config.num_blocks = 2, config.block_size = 1;
  return config;
}

TEST(Filters, ShowTheKernelsOfEachSelfNormalizingConvolution) {
  const Scratch scratch;
  const Model model(convolutions(), small_image);
  EXPECT_EQ(save_filters(scratch / "filters", model), 2);
  // Layer 4 has one kernel of 3 x 3, at 8 pixels a weight with a frame of 1, for W and for R.
  const Picture one = decode_png(read_file(scratch / "filters" / "layer_04.png"), 3, "layer_04");
  EXPECT_EQ(one.height, 26);
  EXPECT_EQ(one.width, 2 * 26 + 16);
  const auto pixel = [&](int row, int column) {
    const auto* p = one.pixels.data() + (row * one.width + column) * 3;
    return std::array<int, 3>{p[0], p[1], p[2]};
  };
  EXPECT_EQ(pixel(13, 13), (std::array<int, 3>{255, 0, 0}));  // the centre tap: the largest
  EXPECT_EQ(pixel(13, 26 + 16 + 13), (std::array<int, 3>{255, 0, 0}));
  // 4 x 4 kernels after the squeeze.
  const Picture four = decode_png(read_file(scratch / "filters" / "layer_07.png"), 3, "layer_07");
  EXPECT_EQ(four.height, 4 * 25 + 1);
}

TEST(Filters, OfOtherLayersAreNotDrawn) {
  const Scratch scratch;
  EXPECT_EQ(save_filters(scratch / "filters", Model(small_config(), small_image)), 0);
  EXPECT_FALSE(std::filesystem::exists(scratch / "filters"));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

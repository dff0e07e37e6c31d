#include "backflow/apps/zoo/gallery_page.h"

#include "backflow/apps/files/atomic_file.h"
#include "backflow/tests/apps/files/scratch.h"
#include "backflow/tests/apps/pictures/program_path.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

class GalleryPages : public testing::Test {
 protected:
  static GalleryDensity density(Real truth, Real learned) {
    const Shape square{gallery_side, gallery_side};
    return {"a flow", "a caption", Tensor::full(square, truth), Tensor::full(square, learned)};
  }
  static GalleryImages images(int channels, int height, int width) {
    const auto size = static_cast<std::size_t>(channels) * height * width;
    return {"a flow of images",
            "a caption",
            {channels, height, width, std::vector<std::uint8_t>(size, 255)}};
  }
  Picture saved(const std::vector<GalleryDensity>& densities,
                const std::vector<GalleryImages>& images, bool words = true) {
    EXPECT_EQ(save_gallery(scratch_ / "page.png", densities, images), words);
    return decode_png(read_file(scratch_ / "page.png"), 3, "page.png");
  }
  // How many pixels have the brightest colour of the densities.
  static Index brightest(const Picture& picture) {
    Index count = 0;
    for (std::size_t i = 0; i < picture.pixels.size(); i += 3)
      count += picture.pixels[i] == 0xfc && picture.pixels[i + 1] == 0xfd &&
               picture.pixels[i + 2] == 0xbf;
    return count;
  }
  Scratch scratch_;
};

TEST_F(GalleryPages, HaveFourFlowsInARow) {
  const int four = saved(std::vector(4, density(1, 1)), {}).height;
  const Picture five = saved(std::vector(5, density(1, 1)), {});
  EXPECT_EQ(saved(std::vector(8, density(1, 1)), {}).height, five.height);
  EXPECT_GT(five.height, four + gallery_side);
  EXPECT_EQ(five.width, 1760);
}

// A true density of 1 is the brightest there is; a learned one of a quarter of it is not.
TEST_F(GalleryPages, ShowEachPairInTheLightOfItsTruth) {
  const Index with_neither = brightest(saved({}, {}));  // the key's
  EXPECT_EQ(brightest(saved({density(1, 0.25)}, {})), with_neither + gallery_side * gallery_side);
  EXPECT_EQ(brightest(saved({density(1, 5)}, {})), with_neither + 2 * gallery_side * gallery_side);
}

TEST_F(GalleryPages, CutImagesToTheRoomThatThereIs) {
  const Index with_none = brightest(saved({}, {}));
  EXPECT_EQ(brightest(saved({}, {images(1, 10, 20)})), with_none + 200);
  EXPECT_LT(brightest(saved({}, {images(1, 2000, 2000)})), with_none + 500 * 500);
  expect_message(message_of([&] { saved({}, {images(3, 5, 5)}); }),
                 "[gallery] samples in 3 channels, expected gray ones");
}

TEST_F(GalleryPages, ExistWithoutGnuplot) {
  const ProgramPath nowhere(scratch_.dir());
  EXPECT_GT(brightest(saved({density(1, 1)}, {}, false)), 2 * gallery_side * gallery_side);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

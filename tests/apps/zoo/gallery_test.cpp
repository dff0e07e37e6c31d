#include "backflow/apps/zoo/gallery.h"

#include "backflow/apps/files/atomic_file.h"
#include "backflow/apps/files/png.h"
#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

namespace fs = std::filesystem;

class Gallery : public testing::Test {
 protected:
  // Of two flows, after so many steps of each.
  std::string drawn_after(Index steps, const std::string& name = "page.png") {
    testing::internal::CaptureStdout();
    const GalleryOptions options{.out = scratch_ / name,
                                 .steps = steps,
                                 .runs = scratch_ / "runs",
                                 .images = scratch_ / "none",
                                 .flows = {"planar", "neural_spline_coupling"}};
    EXPECT_EQ(draw_gallery(options), 0);
    return testing::internal::GetCapturedStdout();
  }
  Scratch scratch_;
};

TEST_F(Gallery, TrainsItsFlowsAndDrawsThem) {
  const std::string said = drawn_after(1);
  for (const char* flow : {"planar", "neural_spline_coupling"}) {
    EXPECT_TRUE(fs::exists(scratch_ / "runs" / (std::string(flow) + "-1") / "metrics.csv")) << flow;
    EXPECT_NE(said.find(flow), said.npos) << said;
  }
  EXPECT_NE(said.find("page.png: 2 flows of the plane, 0 of images"), said.npos) << said;
  EXPECT_EQ(decode_png(read_file(scratch_ / "page.png"), 3, "page").width, 1760);
}

TEST_F(Gallery, TakesARunThatIsThereAndNoOtherLength) {
  drawn_after(1);
  const fs::path checkpoint = scratch_ / "runs/planar-1/checkpoints/last.safetensors";
  const auto written = fs::last_write_time(checkpoint);
  drawn_after(1, "again.png");
  EXPECT_EQ(fs::last_write_time(checkpoint), written);
  EXPECT_EQ(read_file(scratch_ / "page.png"), read_file(scratch_ / "again.png"));
  drawn_after(2);
  EXPECT_TRUE(fs::exists(scratch_ / "runs/planar-2"));
}

TEST_F(Gallery, APageThatCannotBeWrittenIsRefusedBeforeTraining) {
  GalleryOptions options{.out = scratch_ / "none/page.png", .runs = scratch_ / "runs"};
  expect_message(message_of([&] { draw_gallery(options); }),
                 "none/page.png] cannot write: there is no directory");
  EXPECT_FALSE(fs::exists(scratch_ / "runs"));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

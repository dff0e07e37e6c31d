#include "backflow/apps/pictures/curve.h"

#include <cmath>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/tests/apps/files/scratch.h"
#include "backflow/tests/apps/pictures/program_path.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Points = std::vector<CurvePoint>;
const Points three_points = {{1, 1900.5, {}}, {2, 1650, 1660}, {3, 1580, {}}};

class Curve : public testing::Test {
 protected:
  bool plot(const Points& points, const std::string& title = "title",
            const std::optional<ReferenceLine>& reference = {}) {
    return plot_curve(points, scratch_ / "curve.png", title, reference);
  }
  void expect_picture() {
    EXPECT_TRUE(read_file(scratch_ / "curve.png").starts_with("\x89PNG\r\n"));
    EXPECT_EQ(scratch_.files(), 1);
  }

  Scratch scratch_;
};

TEST_F(Curve, PointsBecomeAPicture) {
  EXPECT_TRUE(plot(three_points, "MNIST", ReferenceLine{1500, "paper"}));
  expect_picture();
}

TEST_F(Curve, TheAxesHaveTheirOwnWords) {
  const auto drawn_with = [&](const CurveAxes& axes) {
    EXPECT_TRUE(plot_curve(three_points, scratch_ / "curve.png", "title", {}, axes));
    return read_file(scratch_ / "curve.png");
  };
  EXPECT_EQ(drawn_with({}), drawn_with({"epoch", "exact NLL, nats per image"}));
  EXPECT_NE(drawn_with({}), drawn_with({.time = "step"}));
  EXPECT_NE(drawn_with({}), drawn_with({.loss = "NLL, nats"}));
}

TEST_F(Curve, OneEpochIsEnough) {
  EXPECT_TRUE(plot({{1, 1900.5, 1950}}));
  expect_picture();
}

TEST_F(Curve, WhatIsNotFiniteIsLeftOut) {
  const double nan = std::nan(""), infinity = HUGE_VAL;
  EXPECT_TRUE(plot({{1, 1900, nan}, {2, nan, infinity}}));
  EXPECT_FALSE(plot({{1, nan, {}}}));
}

TEST_F(Curve, TitlesAndPathsAreNeverCommands) {
  const std::string odd = "'; system 'touch \"oops\"'; `touch oops` $(touch oops) \n!touch oops";
  const std::string name = "'`touch oops`' \"$(touch oops)\"; x";
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(scratch_.dir());
  EXPECT_TRUE(plot_curve(three_points, scratch_ / (name + ".png"), odd, ReferenceLine{1500, odd}));
  std::filesystem::current_path(before);
  EXPECT_EQ(scratch_.files(), 1);
}

TEST_F(Curve, NothingToDrawIsNoPicture) {
  EXPECT_FALSE(plot({}));
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "curve.png"));
}

TEST_F(Curve, AnUnwritablePictureIsNamed) {
  expect_message(message_of([&] { plot_curve(three_points, scratch_ / "none/c.png", "title"); }),
                 "none/c.png] cannot write");
}

TEST(CurveWithoutAWorkingGnuplot, AMissingGnuplotIsNoError) {
  const Scratch scratch;
  const ProgramPath nowhere(scratch.dir());
  EXPECT_FALSE(plot_curve(three_points, scratch / "curve.png", "title"));
  EXPECT_EQ(scratch.files(), 0);
}

TEST(CurveWithoutAWorkingGnuplot, AFailingGnuplotKeepsTheOldPicture) {
  const Scratch scratch;
  for (const std::string script : {"exit 1", "echo no picture"}) {
    std::filesystem::permissions(scratch.write("gnuplot", "#!/bin/sh\n" + script + "\n"),
                                 std::filesystem::perms{0700});
    const ProgramPath only_this(scratch.dir());
    const auto png = scratch.write("curve.png", "old");
    EXPECT_FALSE(plot_curve(three_points, png, "title"));
    EXPECT_EQ(read_file(png), "old");
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

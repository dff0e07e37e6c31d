#include "backflow/apps/pictures/curve.h"

#include <cmath>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/tests/apps/files/scratch.h"
#include "backflow/tests/apps/pictures/program_path.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Points = std::vector<CurvePoint>;
const Points three_points = {{1, 1900.5, {}}, {2, 1650, 1660}, {3, 1580, {}}};

// It falls as NLLs do: 1100 after an epoch, 200 after ten, 110 after a hundred.
Points run_of(int epochs) {
  Points points;
  for (int epoch = 1; epoch <= epochs; ++epoch)
    points.push_back({1.0 * epoch, 100 + 1000.0 / epoch, {}});
  return points;
}

// What gnuplot is asked to draw, by one that keeps its script.
std::string script_of(const Points& points, const std::optional<ReferenceLine>& reference = {}) {
  const Scratch scratch;
  const std::string script = scratch / "script";
  std::filesystem::permissions(scratch.write("gnuplot", "#!/bin/sh\n/bin/cat >'" + script + "'\n"),
                               std::filesystem::perms{0700});
  const ProgramPath only_this(scratch.dir());
  plot_curve(points, scratch / "curve.png", "title", reference);
  return read_file(script);
}

bool has(const std::string& script, const std::string& words) {
  return script.find(words) != script.npos;
}

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

TEST_F(Curve, OfALongRunIsAPicture) {
  EXPECT_TRUE(plot(run_of(1000), "MNIST", ReferenceLine{95, "paper"}));
  expect_picture();
}

TEST(CurveOfALongRun, EndsWhereTheNllWasAfterTenEpochsOrThreePercent) {
  for (const auto& [epochs, last_above] : {std::pair{61, 9}, {100, 9}, {400, 11}, {1000, 29}}) {
    const std::string script = script_of(run_of(epochs));
    std::ostringstream top;
    top.precision(17);
    top << "set yrange [:" << run_of(epochs)[last_above].validation_nll << "]\n";
    EXPECT_TRUE(has(script, top.str())) << top.str();
    EXPECT_TRUE(has(script, "set xlabel 'epoch (" + std::to_string(last_above) + " points of " +
                                std::to_string(epochs) + " lie above the picture)'"));
  }
}

TEST(CurveOfALongRun, IsDrawnWholeWhereAllOfItCanBeSeen) {
  Points straight;
  for (int epoch = 1; epoch <= 100; ++epoch) straight.push_back({1.0 * epoch, 500.0 - epoch, {}});
  for (const Points& points : {run_of(60), straight, Points(100, {1, 500, {}})}) {
    const std::string script = script_of(points);
    EXPECT_TRUE(has(script, "set xlabel 'epoch' "));
    EXPECT_FALSE(has(script, "yrange"));
  }
}

TEST(CurveOfALongRun, HasTheLineOfThePaperInItWhereverThatIs) {
  EXPECT_TRUE(has(script_of(run_of(100), ReferenceLine{300, "paper"}), "set yrange [:300]\n"));
  EXPECT_TRUE(has(script_of(run_of(100), ReferenceLine{90, "paper"}), "set yrange [:200]\n"));
  EXPECT_FALSE(has(script_of(run_of(100), ReferenceLine{1000, "paper"}), "yrange"));
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

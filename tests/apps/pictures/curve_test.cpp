#include "backflow/apps/pictures/curve.h"

#include "backflow/apps/files/atomic_file.h"
#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

const std::string header =
    "epoch,train_objective,reconstruction_loss,validation_nll,test_nll,learning_rate,ms_per_step,"
    "seconds\n";
const std::string three_rows = header +
                               "1,2000,0.5,1900.5,,0.001,12,30\n"
                               "2,1700,0.4,1650,1660,0.001,12,60\n"
                               "3,1600,0.4,1580,,0.001,12,90\n";

// A search path for programs, as long as it lives.
class ProgramPath {
 public:
  explicit ProgramPath(const std::string& path) : old_(std::getenv("PATH")) {
    setenv("PATH", path.c_str(), 1);
  }
  ~ProgramPath() { setenv("PATH", old_.c_str(), 1); }

 private:
  std::string old_;
};

class Curve : public testing::Test {
 protected:
  bool plot(const std::string& csv, const std::string& title = "title",
            const std::optional<ReferenceLine>& reference = {}) {
    return plot_curve(scratch_.write("metrics.csv", csv), scratch_ / "curve.png", title, reference);
  }
  void expect_picture() {
    EXPECT_TRUE(read_file(scratch_ / "curve.png").starts_with("\x89PNG\r\n"));
    EXPECT_EQ(scratch_.files(), 2);
  }

  Scratch scratch_;
};

TEST_F(Curve, AMetricsFileBecomesAPicture) {
  EXPECT_TRUE(plot(three_rows, "MNIST", ReferenceLine{1500, "paper"}));
  expect_picture();
}

TEST_F(Curve, OneEpochIsEnough) {
  EXPECT_TRUE(plot(header + "1,2000,0.5,1900.5,1950,0.001,12,30\n"));
  expect_picture();
}

TEST_F(Curve, LineEndsOfWindowsAreRead) {
  EXPECT_TRUE(plot("validation_nll,epoch\r\n1900,1\r\n1800,2\r\n"));
  expect_picture();
}

TEST_F(Curve, NonFiniteCellsAreLeftOut) {
  EXPECT_TRUE(plot(header + "1,1,1,1900,nan,1,1,1\n2,1,1,nan,inf,1,1,1\n"));
  EXPECT_FALSE(plot(header + "1,1,1,nan,,1,1,1\n"));
}

TEST_F(Curve, TitlesAndPathsAreNeverCommands) {
  const std::string odd = "'; system 'touch \"oops\"'; `touch oops` $(touch oops) \n!touch oops";
  const std::string name = "'`touch oops`' \"$(touch oops)\"; x";
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(scratch_.dir());
  EXPECT_TRUE(plot_curve(scratch_.write(name + ".csv", three_rows), scratch_ / (name + ".png"), odd,
                         ReferenceLine{1500, odd}));
  std::filesystem::current_path(before);
  EXPECT_EQ(scratch_.files(), 2);
}

TEST_F(Curve, NothingToDrawIsNoPicture) {
  EXPECT_FALSE(plot(""));
  EXPECT_FALSE(plot(header));
  EXPECT_FALSE(plot("something,else\n1,2\n"));
  EXPECT_FALSE(std::filesystem::exists(scratch_ / "curve.png"));
}

TEST_F(Curve, AnUnreadableTableAndAnUnwritablePictureAreNamed) {
  scratch_.write("metrics.csv", three_rows);
  expect_message(
      message_of([&] { plot_curve(scratch_ / "metrics.csv", scratch_ / "none/c.png", "title"); }),
      "none/c.png] cannot write");
  expect_message(
      message_of([&] { plot_curve(scratch_ / "none.csv", scratch_ / "c.png", "title"); }),
      "none.csv] cannot read");
}

TEST(CurveWithoutAWorkingGnuplot, AMissingGnuplotIsNoError) {
  const Scratch scratch;
  const ProgramPath nowhere(scratch.dir());
  const auto csv = scratch.write("metrics.csv", three_rows);
  EXPECT_FALSE(plot_curve(csv, scratch / "curve.png", "title"));
  EXPECT_EQ(read_file(csv), three_rows);
  EXPECT_EQ(scratch.files(), 1);
}

TEST(CurveWithoutAWorkingGnuplot, AFailingGnuplotKeepsTheOldPicture) {
  const Scratch scratch;
  for (const std::string script : {"exit 1", "echo no picture"}) {
    std::filesystem::permissions(scratch.write("gnuplot", "#!/bin/sh\n" + script + "\n"),
                                 std::filesystem::perms{0700});
    const ProgramPath only_this(scratch.dir());
    const auto png = scratch.write("curve.png", "old");
    EXPECT_FALSE(plot_curve(scratch.write("metrics.csv", three_rows), png, "title"));
    EXPECT_EQ(read_file(png), "old");
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

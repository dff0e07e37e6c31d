#include "backflow/apps/train/progress.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "backflow/tests/apps/pseudo_terminal.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Stderr is this terminal while it lives.
class Terminal {
 public:
  explicit Terminal(unsigned short columns = 0) : terminal_(columns), before_(dup(STDERR_FILENO)) {
    std::fflush(stderr);
    dup2(terminal_.descriptor(), STDERR_FILENO);
  }
  ~Terminal() {
    std::fflush(stderr);
    dup2(before_, STDERR_FILENO);
    close(before_);
  }
  void set_columns(unsigned short columns) { terminal_.set_columns(columns); }
  std::string shown() {  // since the last call
    std::fflush(stderr);
    return terminal_.written();
  }

 private:
  PseudoTerminal terminal_;
  int before_;
};

void wait_for(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

TEST(Progress, ShowsABarWithANoteOnATerminal) {
  Terminal terminal;
  Progress progress(0, 200, false);
  progress.update(100, "epoch 1");
  const std::string shown = terminal.shown();
  EXPECT_NE(shown.find("[###############...............]  50%  epoch 1  0 s left"), shown.npos)
      << shown;
}

// What a line shows, when the half of 200 steps is done.
std::string half_done(Terminal& terminal, const std::string& note) {
  Progress(0, 200, false).update(100, note);
  const std::string shown = terminal.shown();
  return shown.substr(1, shown.find("\033[K") - 1);
}

TEST(Progress, OnANarrowTerminalTheBarShrinksAndThenTheNote) {
  const std::string note = "epoch 1  objective 1234.5";
  const std::vector<std::pair<unsigned short, std::string>> lines = {
      {0, "[###############...............]  50%  " + note + "  0 s left"},  // as on 80 columns
      {200, "[###############...............]  50%  " + note + "  0 s left"},
      {75, "[###############...............]  50%  " + note + "  0 s left"},
      {74, "[##############...............]  50%  " + note + "  0 s left"},
      {50, "[##...]  50%  " + note + "  0 s left"},
      {49, " 50%  " + note + "  0 s left"},
      {42, " 50%  " + note + "  0 s left"},
      {41, " 50%  epoch 1  objective 1234.  0 s left"},
      {20, " 50%  epo  0 s left"},
      {17, " 50%    0 s left"},
      {10, " 50%    0"},
      {2, " "},
      {1, ""}};
  for (const auto& [columns, line] : lines) {
    Terminal terminal(columns);
    EXPECT_EQ(half_done(terminal, note), line) << "on " << columns << " columns";
  }
}

TEST(Progress, FollowsATerminalThatIsMadeNarrower) {
  Terminal terminal(80);
  EXPECT_EQ(half_done(terminal, "note").size(), 53u);
  terminal.set_columns(30);
  EXPECT_EQ(half_done(terminal, "note"), "[###...]  50%  note  0 s left");
}

TEST(Progress, IsFullAtTheEndAndEmptyAtTheBeginning) {
  Terminal terminal;
  Progress(0, 3, false).update(0, "");
  EXPECT_NE(terminal.shown().find("[..............................]   0%"), std::string::npos);
  Progress(0, 3, false).update(3, "");
  EXPECT_NE(terminal.shown().find("[##############################] 100%"), std::string::npos);
}

TEST(Progress, IsRedrawnAtMostTenTimesASecond) {
  Terminal terminal;
  const auto start = std::chrono::steady_clock::now();
  Progress progress(0, 1000, false);
  std::string shown;
  for (Index i = 1; i < 500; ++i) {
    progress.update(i, "");
    shown += terminal.shown();
  }
  const auto tenths = (std::chrono::steady_clock::now() - start) / std::chrono::milliseconds(100);
  EXPECT_GE(std::count(shown.begin(), shown.end(), '['), 1);
  EXPECT_LE(std::count(shown.begin(), shown.end(), '['), 2 * (1 + tenths));  // one more in \033[K
  wait_for(101);
  progress.update(500, "later");
  EXPECT_NE(terminal.shown().find("later"), std::string::npos);
}

TEST(Progress, LeavesAnEmptyLine) {
  Terminal terminal;
  {
    Progress progress(0, 10, false);
    progress.update(5, "");
    terminal.shown();
    progress.clear();
    EXPECT_EQ(terminal.shown(), "\r\033[K");
    progress.clear();
    EXPECT_EQ(terminal.shown(), "");
    wait_for(101);
    progress.update(6, "");
    terminal.shown();
  }
  EXPECT_EQ(terminal.shown(), "\r\033[K");
}

TEST(Progress, PrintsNothingWhenQuiet) {
  Terminal terminal;
  Progress(0, 10, true).update(5, "note");
  EXPECT_EQ(terminal.shown(), "");
}

TEST(Progress, PrintsNothingWithoutATerminal) {
  testing::internal::CaptureStderr();
  Progress(0, 10, false).update(5, "note");
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(Progress, TheTimeLeftComesFromTheStepsOfThisRun) {
  const Progress progress(100, 400, false);  // 100 were done by another run
  EXPECT_EQ(progress.seconds_left(100), 0);
  wait_for(20);
  const double after_half = progress.seconds_left(250), near_the_end = progress.seconds_left(399);
  EXPECT_GE(after_half, 0.02);
  EXPECT_LT(near_the_end, after_half);
  EXPECT_EQ(progress.seconds_left(400), 0);
}

TEST(AsDuration, IsReadAtAGlance) {
  const std::vector<std::pair<double, std::string>> cases = {
      {0, "0 s"},          {0.4, "0 s"},      {0.5, "1 s"},         {42, "42 s"},
      {59.4, "59 s"},      {59.5, "1:00"},    {187, "3:07"},        {3599.4, "59:59"},
      {3599.6, "1:00:00"}, {3750, "1:02:30"}, {360000, "100:00:00"}};
  for (const auto& [seconds, text] : cases) EXPECT_EQ(as_duration(seconds), text) << seconds;
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

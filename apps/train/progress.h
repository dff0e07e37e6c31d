// A progress bar with the time left, on stderr, and only where somebody sees it: on a terminal.
#pragma once

#include <chrono>
#include <string>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

class Progress {
 public:
  // `first` of `total` steps are done already; with `quiet`, or without a terminal, nothing shows.
  Progress(Index first, Index total, bool quiet);
  ~Progress() { clear(); }
  void update(Index done, const std::string& note);  // redraws at most ten times a second
  void clear();                                      // before printing a line of its own
  double seconds_left(Index done) const;

 private:
  std::string line(Index done, std::string note, Index room) const;

  using Clock = std::chrono::steady_clock;
  Index first_, total_;
  bool shown_, drawn_ = false;
  Clock::time_point start_, last_draw_{};
};

std::string as_duration(double seconds);  // "42 s", "3:07", "1:02:30"

}  // namespace backflow::inline BACKFLOW_PRECISION

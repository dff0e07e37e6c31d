#include "apps/progress.h"

#include <unistd.h>

#include <cstdio>

namespace backflow::inline BACKFLOW_PRECISION {

Progress::Progress(Index first, Index total, bool quiet)
    : first_(first), total_(total), shown_(!quiet && isatty(STDERR_FILENO)), start_(Clock::now()) {}

double Progress::seconds_left(Index done) const {
  const double spent = std::chrono::duration<double>(Clock::now() - start_).count();
  return done > first_ ? spent / (done - first_) * (total_ - done) : 0;
}

void Progress::update(Index done, const std::string& note) {
  const auto now = Clock::now();
  if (!shown_ || now - last_draw_ < std::chrono::milliseconds(100)) return;
  last_draw_ = now;
  drawn_ = true;
  constexpr int width = 30;
  const int filled = static_cast<int>(width * done / total_);
  const std::string bar = std::string(filled, '#') + std::string(width - filled, '.');
  std::fprintf(stderr, "\r[%s] %3d%%  %s  %s left\033[K", bar.c_str(),
               static_cast<int>(100 * done / total_), note.c_str(),
               as_duration(seconds_left(done)).c_str());
  std::fflush(stderr);
}

void Progress::clear() {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

std::string as_duration(double seconds) {
  const Index s = static_cast<Index>(seconds + 0.5);
  char text[32];
  if (s < 60) {
    std::snprintf(text, sizeof text, "%d s", static_cast<int>(s));
  } else if (s < 3600) {
    std::snprintf(text, sizeof text, "%d:%02d", static_cast<int>(s / 60), static_cast<int>(s % 60));
  } else {
    std::snprintf(text, sizeof text, "%lld:%02d:%02d", static_cast<long long>(s / 3600),
                  static_cast<int>(s / 60 % 60), static_cast<int>(s % 60));
  }
  return text;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

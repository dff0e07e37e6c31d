#include "backflow/apps/train/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace backflow::inline BACKFLOW_PRECISION {

// The width of the terminal that shows stderr, which may change at any time.
static Index columns() {
  winsize size{};
  return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

Progress::Progress(Index first, Index total, bool quiet)
    : first_(first), total_(total), shown_(!quiet && isatty(STDERR_FILENO)), start_(Clock::now()) {}

double Progress::seconds_left(Index done) const {
  const double spent = std::chrono::duration<double>(Clock::now() - start_).count();
  return done > first_ ? spent / (done - first_) * (total_ - done) : 0;
}

// No longer than `room`, or the terminal would begin a new line each time: first the bar shrinks,
// which says the least, then the note.
std::string Progress::line(Index done, std::string note, Index room) const {
  constexpr Index widest_bar = 30, narrowest_bar = 5;
  char percent[16];
  std::snprintf(percent, sizeof percent, "%3d%%  ", static_cast<int>(100 * done / total_));
  const std::string left = "  " + as_duration(seconds_left(done)) + " left";
  const auto length = [](const std::string& text) { return static_cast<Index>(text.size()); };
  const Index without_note = length(percent) + length(left);
  const Index bar = std::min(widest_bar, room - without_note - length(note) - length("[] "));
  note.resize(std::clamp<Index>(room - without_note, 0, length(note)));
  std::string text = percent + note + left;
  if (bar >= narrowest_bar) {
    const Index filled = bar * done / total_;
    text = "[" + std::string(filled, '#') + std::string(bar - filled, '.') + "] " + text;
  }
  return text.substr(0, room);
}

void Progress::update(Index done, const std::string& note) {
  const auto now = Clock::now();
  if (!shown_ || now - last_draw_ < std::chrono::milliseconds(100)) return;
  last_draw_ = now;
  drawn_ = true;
  std::fprintf(stderr, "\r%s\033[K", line(done, note, columns() - 1).c_str());
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

// A terminal without a screen: what is written to it can be read.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <string>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

class PseudoTerminal {
 public:
  explicit PseudoTerminal(unsigned short columns = 0)  // 0: it does not say
      : reader_(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK)) {
    grantpt(reader_);
    unlockpt(reader_);
    writer_ = open(ptsname(reader_), O_RDWR | O_NOCTTY | O_CLOEXEC);
    set_columns(columns);
  }
  ~PseudoTerminal() {
    close(writer_);
    close(reader_);
  }
  PseudoTerminal(const PseudoTerminal&) = delete;
  PseudoTerminal& operator=(const PseudoTerminal&) = delete;

  int descriptor() const { return writer_; }
  void set_columns(unsigned short columns) const {
    const winsize size{.ws_row = 0, .ws_col = columns, .ws_xpixel = 0, .ws_ypixel = 0};
    ioctl(reader_, TIOCSWINSZ, &size);
  }

  // What has come since the last call. A terminal that nobody reads is soon full.
  std::string come() const {
    std::string text;
    char piece[4096];
    for (ssize_t size; (size = read(reader_, piece, sizeof piece)) > 0;)
      text.append(piece, static_cast<std::size_t>(size));
    return text;
  }

  // All that was written since the last call. The kernel hands it over a little after the write, so
  // a mark is written behind it and waited for.
  std::string written() const {
    constexpr char mark = '\x06';  // which no text of ours has
    std::string text = come();
    pollfd readable{.fd = reader_, .events = POLLIN, .revents = 0};
    if (write(writer_, &mark, 1) != 1) return text + "[the terminal takes nothing]";
    while (!text.ends_with(mark)) {
      if (poll(&readable, 1, 10'000) != 1) return text + "[the terminal gives nothing]";
      text += come();
    }
    text.pop_back();
    return text;
  }

 private:
  int reader_, writer_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

// Ctrl-C as a question that the training loop asks between steps.
#pragma once

#include <csignal>
#include <iterator>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// While it lives, the first SIGINT, SIGTERM or SIGHUP is only noted; a second one kills as usual.
// What was ignored before stays ignored: SIGINT of a background job, SIGHUP under nohup.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  static bool requested() { return signal_number() != 0; }
  static int exit_code() { return 128 + signal_number(); }  // the shell's: 130 for Ctrl-C

 private:
  static constexpr int signals[] = {SIGINT, SIGTERM, SIGHUP};
  static int signal_number();
  struct sigaction before_[std::size(signals)];
};

}  // namespace backflow::inline BACKFLOW_PRECISION

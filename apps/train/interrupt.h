// Ctrl-C as a question that the training loop asks between steps, and between the batches of an
// evaluation.
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

  static int signal_number();  // of the signal that was noted; 0: none

 private:
  static constexpr int signals[] = {SIGINT, SIGTERM, SIGHUP};
  struct sigaction before_[std::size(signals)];
};

}  // namespace backflow::inline BACKFLOW_PRECISION

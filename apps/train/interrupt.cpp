#include "backflow/apps/train/interrupt.h"

namespace backflow::inline BACKFLOW_PRECISION {

static volatile std::sig_atomic_t noted = 0;

Interrupt::Interrupt() {
  noted = 0;
  struct sigaction action {};
  action.sa_handler = [](int number) { noted = number; };
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  for (std::size_t i = 0; i < std::size(signals); ++i) {
    sigaction(signals[i], nullptr, &before_[i]);
    if (before_[i].sa_handler != SIG_IGN) sigaction(signals[i], &action, nullptr);
  }
}

Interrupt::~Interrupt() {
  for (std::size_t i = 0; i < std::size(signals); ++i) sigaction(signals[i], &before_[i], nullptr);
}

int Interrupt::signal_number() { return noted; }

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "apps/interrupt.h"

namespace backflow::inline BACKFLOW_PRECISION {

static volatile std::sig_atomic_t noted = 0;

Interrupt::Interrupt() {
  noted = 0;
  struct sigaction action {};
  action.sa_handler = [](int number) { noted = number; };
  action.sa_flags = SA_RESETHAND | SA_RESTART;
  sigaction(SIGINT, &action, &before_int_);
  sigaction(SIGTERM, &action, &before_term_);
}

Interrupt::~Interrupt() {
  sigaction(SIGINT, &before_int_, nullptr);
  sigaction(SIGTERM, &before_term_, nullptr);
}

int Interrupt::signal_number() { return noted; }

}  // namespace backflow::inline BACKFLOW_PRECISION

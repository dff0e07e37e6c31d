// Numbers below the smallest normal one (1.2e-38 in float, 2.2e-308 in double) may take a processor
// a hundred times as long as others. What decays for ever ends among them, like the moments of a
// parameter whose gradient is 0, and seldom does it matter there that it is not 0.
#pragma once

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// While one is alive, subnormal operands and results are 0, with their signs: in this thread, and
// in the chunks of work that it gives to others (engine/parallel.h), so that the bits do not depend
// on the number of threads. Unless somebody asks for it, it is off. Guards may be nested: the
// destructor restores what was before.
//
// It holds for the functions that are called meanwhile; arithmetic that stands in one function with
// the guard may be moved across it by the compiler.
//
// On x86-64 (FZ and DAZ of MXCSR) and AArch64 (FZ of FPCR); elsewhere it does nothing.
class FlushSubnormals {
 public:
  FlushSubnormals() : before_(exchange(~std::uint64_t{0})) {}
  ~FlushSubnormals() { exchange(before_); }
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;

 private:
  // Sets the bits of the control register that flush to those of `mode`, and returns what they
  // were.
  static std::uint64_t exchange(std::uint64_t mode);
  const std::uint64_t before_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

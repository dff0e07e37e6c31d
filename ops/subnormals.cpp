#include "backflow/ops/subnormals.h"

namespace backflow::inline BACKFLOW_PRECISION {

std::uint64_t FlushSubnormals::exchange([[maybe_unused]] std::uint64_t mode) {
#if defined(__x86_64__)
  constexpr unsigned bits = 1 << 15 | 1 << 6;  // FZ for results, DAZ for operands
  const unsigned word = __builtin_ia32_stmxcsr();
  __builtin_ia32_ldmxcsr((word & ~bits) | (static_cast<unsigned>(mode) & bits));
#elif defined(__aarch64__)
  constexpr std::uint64_t bits = 1 << 24;  // FZ for both
  std::uint64_t word;
  asm volatile("mrs %0, fpcr" : "=r"(word));
  asm volatile("msr fpcr, %0" : : "r"((word & ~bits) | (mode & bits)));
#else
  constexpr std::uint64_t bits = 0, word = 0;
#endif
  return word & bits;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

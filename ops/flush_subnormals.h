// Numbers too small for the exponent of their type, and what they cost. Internal to ops.
#pragma once

#include <cstdint>

#if defined(__SSE__)
#include <xmmintrin.h>
#endif

namespace backflow::inline BACKFLOW_PRECISION {

// While one is alive, this thread takes subnormal numbers for 0: on x86 an operation on one of them
// takes a hundred times as long as another. On processors that are neither x86 nor 64-bit ARM it
// does nothing. The bits are the same on any number of threads if what is computed under it is
// computed on its thread.
class FlushSubnormals {
 public:
  FlushSubnormals() : before_(control()) { set_control(before_ | flush); }
  ~FlushSubnormals() { set_control(before_); }
  FlushSubnormals(const FlushSubnormals&) = delete;
  FlushSubnormals& operator=(const FlushSubnormals&) = delete;

 private:
#if defined(__SSE__)
  using Control = unsigned;
  static constexpr Control flush = 1u << 15 | 1u << 6;  // results (FTZ) and operands (DAZ)
  static Control control() { return _mm_getcsr(); }
  static void set_control(Control bits) { _mm_setcsr(bits); }
#elif defined(__aarch64__)
  using Control = std::uint64_t;
  static constexpr Control flush = Control{1} << 24;  // both (FZ)
  static Control control() {
    Control bits;
    asm volatile("mrs %0, fpcr" : "=r"(bits));
    return bits;
  }
  static void set_control(Control bits) { asm volatile("msr fpcr, %0" : : "r"(bits)); }
#else
  using Control = unsigned;
  static constexpr Control flush = 0;
  static Control control() { return 0; }
  static void set_control(Control) {}
#endif

  const Control before_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

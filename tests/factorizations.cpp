#include "backflow/tests/factorizations.h"

#include <dlfcn.h>

#include <atomic>

#include "backflow/ops/lapack.h"

static std::atomic<backflow::Index> count = 0, tallest = 0;

static void counted(backflow::Index rows) {
  ++count;
  backflow::Index before = tallest;
  while (before < rows && !tallest.compare_exchange_weak(before, rows)) {
  }
}

extern "C" void dgetrf_(const int* m, const int* n, double* a, const int* lda, int* pivots,
                        int* info) {
  static const auto lapack = reinterpret_cast<decltype(&dgetrf_)>(dlsym(RTLD_NEXT, "dgetrf_"));
  counted(*m);
  lapack(m, n, a, lda, pivots, info);
}
extern "C" void sgetrf_(const int* m, const int* n, float* a, const int* lda, int* pivots,
                        int* info) {
  static const auto lapack = reinterpret_cast<decltype(&sgetrf_)>(dlsym(RTLD_NEXT, "sgetrf_"));
  counted(*m);
  lapack(m, n, a, lda, pivots, info);
}

namespace backflow::inline BACKFLOW_PRECISION {

Index factorizations() { return count; }

Index factorizations_of(const std::function<void()>& f) {
  const Index before = count;
  f();
  return count - before;
}

Index tallest_factorization_of(const std::function<void()>& f) {
  tallest = 0;
  f();
  return tallest;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

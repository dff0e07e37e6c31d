#include "backflow/tests/factorizations.h"

#include <dlfcn.h>

#include <atomic>

#include "backflow/ops/lapack.h"

static std::atomic<backflow::Index> count = 0, widest = 0;

extern "C" void dgetrf_(const int* m, const int* n, double* a, const int* lda, int* pivots,
                        int* info) {
  static const auto lapack = reinterpret_cast<decltype(&dgetrf_)>(dlsym(RTLD_NEXT, "dgetrf_"));
  ++count;
  backflow::Index before = widest;
  while (before < *n && !widest.compare_exchange_weak(before, *n)) {
  }
  lapack(m, n, a, lda, pivots, info);
}

namespace backflow::inline BACKFLOW_PRECISION {

Index factorizations() { return count; }

Index factorizations_of(const std::function<void()>& f) {
  const Index before = count;
  f();
  return count - before;
}

Index widest_factorization_of(const std::function<void()>& f) {
  widest = 0;
  f();
  return widest;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

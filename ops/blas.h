// What OpenBLAS needs before its first use, and which of its kernels are at work.
#pragma once

#include <string>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// These two are for prepare_blas() alone.
inline constinit thread_local bool blas_is_prepared = false;
void prepare_blas_on_this_thread();

// To be called on the thread that calls OpenBLAS, before it does. Sees to it that OpenBLAS has the
// memory that it works in: when the system has none left, OpenBLAS itself would ask for it again
// and again without an end. This throws OutOfMemory then, and the next call tries again.
inline void prepare_blas() {
  if (!blas_is_prepared) prepare_blas_on_this_thread();
}

// The name of the kernels that OpenBLAS has chosen for this processor, such as "Haswell". Products
// have the same bits only under the same kernels.
std::string blas_kernel();

}  // namespace backflow::inline BACKFLOW_PRECISION

// OpenBLAS: before its first use, and which one it is.
#pragma once

#include <string>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// For prepare_blas() alone.
inline constinit thread_local bool blas_is_prepared = false;
void prepare_blas_on_this_thread();

// To be called on the thread that calls OpenBLAS, before it does. Sees to it that OpenBLAS has the
// memory that it works in: when the system has none, OpenBLAS itself would ask for ever. Throws
// OutOfMemory then, and the next call tries again.
inline void prepare_blas() {
  if (!blas_is_prepared) prepare_blas_on_this_thread();
}

// The kernels that it has chosen for this processor, such as "Haswell": its products have the same
// bits only under the same ones.
std::string blas_kernel();

}  // namespace backflow::inline BACKFLOW_PRECISION

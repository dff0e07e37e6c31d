// Which vector instructions the library was built for: of a portable package there are several, and
// the loader picks one.
#pragma once

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// "AVX-512", "AVX2", "SSE4.2" or "SSE2": what x86-64-v4, -v3, -v2 and the baseline of x86-64 have
// most of all. "SVE" or "NEON" of aarch64. "none known" elsewhere.
const char* vector_instructions();

}  // namespace backflow::inline BACKFLOW_PRECISION

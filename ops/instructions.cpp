#include "backflow/ops/instructions.h"

namespace backflow::inline BACKFLOW_PRECISION {

const char* vector_instructions() {
#if defined(__AVX512F__)
  return "AVX-512";
#elif defined(__AVX2__)
  return "AVX2";
#elif defined(__SSE4_2__)
  return "SSE4.2";
#elif defined(__SSE2__)
  return "SSE2";
#elif defined(__ARM_FEATURE_SVE)
  return "SVE";
#elif defined(__ARM_NEON)
  return "NEON";
#else
  return "none known";
#endif
}

}  // namespace backflow::inline BACKFLOW_PRECISION

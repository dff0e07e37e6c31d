// Compiled into one shared object in float, and into another in double.
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"

#ifdef BACKFLOW_DOUBLE
#define THIRD third_in_double
#else
#define THIRD third_in_float
#endif

extern "C" double THIRD() {
  using namespace backflow;
  const Tensor x({3}, {Real{1} / 3, Real{1} / 3, Real{1} / 3});
  return static_cast<double>(mean(x)[0]);
}

// Tells g++ that glibc's elementary functions have vector versions (libmvec), so that a plain loop
// over std::exp uses them, without -ffast-math and its broken NaNs. At most 4 ulp of error.
//
// Internal to sources whose loops call these functions: it declares exp, log, sin and the others
// below anew, so no header includes it.
#pragma once

#include <cmath>

#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define BACKFLOW_VECTORIZED(name)                                                      \
  extern "C" double name(double) noexcept __attribute__((simd("notinbranch"), const)); \
  extern "C" float name##f(float) noexcept __attribute__((simd("notinbranch"), const));
#else
#define BACKFLOW_VECTORIZED(name)
#endif

BACKFLOW_VECTORIZED(exp)
BACKFLOW_VECTORIZED(log)
BACKFLOW_VECTORIZED(log1p)
BACKFLOW_VECTORIZED(tanh)
BACKFLOW_VECTORIZED(sin)
BACKFLOW_VECTORIZED(cos)
BACKFLOW_VECTORIZED(erf)

#undef BACKFLOW_VECTORIZED

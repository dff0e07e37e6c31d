// Counts the LU factorizations of the program: the tests' own dgetrf_ stands between it and
// LAPACK's. So what is cached is seen from outside, and the library keeps no count for its tests.
#pragma once

#include <functional>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// How many there were so far, on all threads. An LU takes one; a ConvLU takes one for each block of
// its band.
Index factorizations();

// How many of them f() makes.
Index factorizations_of(const std::function<void()>& f);

// The most columns that a matrix has which f() factorises; 0: it factorises none.
Index widest_factorization_of(const std::function<void()>& f);

}  // namespace backflow::inline BACKFLOW_PRECISION

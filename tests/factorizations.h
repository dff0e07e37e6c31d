// Counts the LU factorizations of the program: the tests' own dgetrf_ and sgetrf_ stand between it
// and LAPACK's. So what is cached is seen from outside, and the library keeps no count for its
// tests.
#pragma once

#include <functional>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// How many there were so far, on all threads. An LU takes one; what is eliminated by Gauss-Jordan
// (ops/elimination.h), as a ConvLU is, takes one for every few columns.
Index factorizations();

// How many of them f() makes.
Index factorizations_of(const std::function<void()>& f);

// The most rows that a matrix has which f() factorises; 0: it factorises none.
Index tallest_factorization_of(const std::function<void()>& f);

}  // namespace backflow::inline BACKFLOW_PRECISION

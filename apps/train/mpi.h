// Ranks that mpirun has started. Only this file's source knows MPI; where it was left out of the
// build (Meson's option `mpi`), there is one rank.
#pragma once

#include <memory>

#include "backflow/apps/train/ranks.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The ranks that this process was started with, once in its life: by mpirun, or it is alone. A rank
// has as many threads as its machine has processors for each of its ranks, from here on and unless
// it is told another number.
//
// Throws an Error where several were started by a program that was built without MPI.
std::unique_ptr<Ranks> join_ranks();

}  // namespace backflow::inline BACKFLOW_PRECISION

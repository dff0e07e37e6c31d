// One pool of threads for the whole program.
//
// The promise: the same bits on any number of threads. Work is cut into chunks by its size alone,
// never by the number of threads, and a reduction combines its chunks in index order.
#pragma once

#include <functional>

#include "engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

void set_threads(int count);  // from now on; the calling thread is one of them. Fails below 1.
int threads();                // initially the number of processors

// A chunk of a pointwise kernel: long enough to pay for waking a thread, short enough for a cache.
inline constexpr Index elements_per_chunk = 8192;

// Calls body(begin, end) for the ranges [0, grain), [grain, 2 grain), ... of [0, n), in any order
// and on any thread. Nested calls run inline; the first exception of a chunk is rethrown here.
void parallel_chunks(Index n, Index grain, const std::function<void(Index, Index)>& body);

template <class Body>
void parallel_for(Index n, Index grain, const Body& body) {
  if (n <= grain) {
    if (n > 0) body(Index{0}, n);
  } else {
    parallel_chunks(n, grain, std::cref(body));
  }
}

}  // namespace backflow::inline BACKFLOW_PRECISION

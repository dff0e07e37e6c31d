// One pool of threads for the whole program.
//
// The promise: the same bits on any number of threads. Work is cut into chunks by its size alone,
// never by the number of threads, and a reduction combines its chunks in index order.
//
// The pool is never destroyed: static objects may compute in their destructors. Any thread may call
// these functions at any time; one that finds the pool busy does its work alone. A forked child has
// a pool of its own, whose threads start when they are first needed (but do not fork in a chunk).
#pragma once

#include <functional>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// From now on `count` threads compute, the calling one among them. Waits until the pool is idle.
// Fails below 1, inside of a chunk, and when the system does not start so many; then the number
// stays what it was.
void set_threads(int count);
// How many there are: at first as many as the processors that this process may use
// (engine/processors.h), or as many as the system starts.
int threads();

// A chunk of a pointwise kernel: long enough to pay for waking a thread, short enough for a cache.
inline constexpr Index elements_per_chunk = 8192;

// Calls body(begin, end) for the ranges [0, grain), [grain, 2 grain), ... of [0, n), in any order
// and on any thread, which rounds and treats subnormals as the calling one does. Nested calls
// run inline; the first exception of a chunk is rethrown here.
void parallel_chunks(Index n, Index grain, const std::function<void(Index, Index)>& body);

// While one is alive, this thread is inside of a chunk: the number of threads cannot change.
class InsideChunk {
 public:
  InsideChunk() { ++depth_; }
  ~InsideChunk() { --depth_; }
  InsideChunk(const InsideChunk&) = delete;
  InsideChunk& operator=(const InsideChunk&) = delete;
  static bool now() { return depth_ > 0; }

 private:
  static inline constinit thread_local int depth_ = 0;
};

template <class Body>
void parallel_for(Index n, Index grain, const Body& body) {
  if (n <= grain) {
    const InsideChunk inside;
    if (n > 0) body(Index{0}, n);
  } else {
    parallel_chunks(n, grain, std::cref(body));
  }
}

// f(k) for every k of [0, n), in chunks of a pointwise kernel. Each chunk has a copy of f: what f
// has captured by value then stays in registers.
template <class F>
void for_each_element(Index n, const F& f) {
  parallel_for(n, elements_per_chunk, [&f](Index k, Index end) {
    for (const F copy = f; k < end; ++k) copy(k);
  });
}

// term(0) + ... + term(n - 1) in double, on this thread. The terms are added up in sixteen
// independent sums, or as many as are asked for, so that the loop can use vector instructions, in
// an order that depends on n alone.
template <Index lanes = 16, class Term>
double sum_in_lanes(Index n, const Term& term) {
  double sums[static_cast<std::size_t>(lanes)] = {}, total = 0;
  Index i = 0;
  for (; i + lanes <= n; i += lanes)
    for (Index k = 0; k < lanes; ++k) sums[k] += static_cast<double>(term(i + k));
  for (Index k = 0; i + k < n; ++k) sums[k] += static_cast<double>(term(i + k));
  for (double sum : sums) total += sum;
  return total;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

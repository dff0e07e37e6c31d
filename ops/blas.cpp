#include "backflow/ops/blas.h"

#include <cblas.h>
#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <mutex>
#include <new>
#include <vector>

#include "backflow/engine/buffer.h"
#include "backflow/engine/parallel.h"

// Functions inside OpenBLAS that no header declares; null where a build of it does not export them.
// OpenBLAS has a list of buffers that it never gives back; a call takes the first that is free, or
// maps one more.
extern "C" {
[[gnu::weak]] void* blas_memory_alloc(int);
[[gnu::weak]] void blas_memory_free(void*);
[[gnu::weak]] void gotoblas_init();  // OpenBLAS's constructor; a second call does nothing
}

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// The one switch of OpenBLAS's own threads, set before main(): the work is shared among our
// threads, and other shares would give other bits. Where OpenBLAS is linked statically, its
// constructor may not have run yet, and threads that it starts before that crash.
[[maybe_unused]] const bool single_threaded = [] {
  if (gotoblas_init) gotoblas_init();
  openblas_set_num_threads(1);
  return true;
}();

constexpr Index bytes_per_buffer = Index{128} << 20;
// The shortest list that OpenBLAS is built with: when more are taken at once, it prints a warning.
constexpr Index most_buffers_taken = 50;

std::mutex preparing;
Index prepared_threads = 0;   // that live
Index buffers_there_are = 0;  // or more: so many calls at once find a buffer each

// A forked child has only the thread that forked.
void forget_other_threads_after_fork() {
  new (&preparing) std::mutex;
  prepared_threads = blas_is_prepared ? 1 : 0;
}

// Counts its thread until that ends.
struct Counted {
  bool counted = false;
  ~Counted() {
    if (!counted) return;
    std::lock_guard lock(preparing);
    --prepared_threads;
  }
};
thread_local Counted this_thread;

// Asks the system for so many buffers as OpenBLAS would, and gives everything back.
bool system_has(Index buffers) {
  std::vector<void*> mapped;
  for (mapped.reserve(buffers); std::ssize(mapped) < buffers;) {
    void* const buffer =
        mmap(nullptr, bytes_per_buffer, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (buffer == MAP_FAILED) break;
    mapped.push_back(buffer);
  }
  for (void* buffer : mapped) munmap(buffer, bytes_per_buffer);
  return std::ssize(mapped) == buffers;
}

// Makes OpenBLAS map so many buffers now, while there is memory: later, tensors may have taken it.
void take_at_once(Index buffers) {
  if (!blas_memory_alloc || !blas_memory_free) return;
  std::vector<void*> taken(std::min(buffers, most_buffers_taken));
  for (void*& buffer : taken) buffer = blas_memory_alloc(0);
  for (void* buffer : taken) blas_memory_free(buffer);
}

// Sees to it that `wanted` buffers are there. Meanwhile `busy` other threads may hold one each, so
// as many more may have to be mapped.
void make_buffers(Index wanted, Index busy) {
  if (wanted <= buffers_there_are) return;
  const Index missing = std::min(wanted, wanted + busy - buffers_there_are);
  if (!system_has(missing))
    throw OutOfMemory(missing * bytes_per_buffer, "blas",
                      "the products of " + std::to_string(wanted) + " threads");
  take_at_once(wanted);
  buffers_there_are = wanted;
}

}  // namespace

void prepare_blas_on_this_thread() {
  [[maybe_unused]] static const int registered =
      pthread_atfork(nullptr, nullptr, forget_other_threads_after_fork);
  const Index pool = threads();
  std::lock_guard lock(preparing);
  make_buffers(std::max(pool, prepared_threads + 1), prepared_threads);
  ++prepared_threads;
  this_thread.counted = true;
  blas_is_prepared = true;
}

std::string blas_kernel() { return openblas_get_corename(); }

}  // namespace backflow::inline BACKFLOW_PRECISION

// A worker that has nothing to do spins briefly, because the next op usually follows within
// microseconds, and then sleeps.
#include "backflow/engine/parallel.h"

#include <pthread.h>

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <new>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "backflow/engine/processors.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constinit thread_local bool inside_job = false;  // in a chunk that the pool hands out

// Yielding is a system call, in which a worker would miss the beginning of the next job; but where
// there are more threads than processors, nothing moves without it.
void pause_briefly(int turn) {
  if (turn % 512 == 511) return std::this_thread::yield();
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

// How a thread rounds, and what becomes of subnormal numbers. <cfenv> knows it everywhere, but asks
// x86's old unit as well, which computes nothing here: that would be 60 ns instead of 2.
#if defined(__x86_64__)
using Environment = unsigned;
void get(Environment& environment) { environment = __builtin_ia32_stmxcsr(); }
void set(const Environment& environment) { __builtin_ia32_ldmxcsr(environment); }
#else
using Environment = std::fenv_t;
void get(Environment& environment) { std::fegetenv(&environment); }
void set(const Environment& environment) { std::fesetenv(&environment); }
#endif

// The chunks of a job that a thread starts with: a contiguous part, the same one for every job of
// that size, so that a thread finds in its own cache what it wrote there in the op before. Whoever
// runs out of chunks takes those of the others.
//
// The ticket holds the job's number and how many chunks nobody has taken, so that a worker that
// wakes late cannot take a chunk of a job that is over. Only a chunk taken keeps the job's fields
// alive: before that, they may already belong to the next job.
struct alignas(64) Share {
  std::atomic<std::uint64_t> ticket = 0;
  Index end = 0;
  std::atomic<bool> asleep = false;  // its thread; may be true a little too long, never too short

  std::uint32_t job() const { return static_cast<std::uint32_t>(ticket.load() >> 32); }

  void publish(std::uint32_t job, Index first_chunk, Index end_chunk) {
    end = end_chunk;
    ticket.store(static_cast<std::uint64_t>(job) << 32 | (end_chunk - first_chunk));
  }
  std::optional<Index> take(std::uint32_t job) {
    std::uint64_t now = ticket.load(std::memory_order_relaxed);  // the exchange acquires
    while (static_cast<std::uint32_t>(now >> 32) == job && static_cast<std::uint32_t>(now) > 0)
      if (ticket.compare_exchange_weak(now, now - 1, std::memory_order_acq_rel))
        return end - static_cast<std::uint32_t>(now);
    return std::nullopt;
  }
};

constexpr int most_threads = 4096;

class ThreadPool {
 public:
  // With so many threads, or as many as the system starts.
  explicit ThreadPool(int count) { restart(count); }

  int threads() const { return threads_.load(std::memory_order_relaxed); }

  // False when another thread is using the pool, or when there is no other thread.
  bool run(Index n, Index grain, const std::function<void(Index, Index)>& body) {
    std::unique_lock busy(running_, std::try_to_lock);
    if (!busy) return false;
    const Index chunks = (n + grain - 1) / grain, threads = this->threads();
    if (threads == 1 || chunks > most_chunks) return false;
    n_ = n, grain_ = grain, body_ = &body;
    get(environment_);
    done_.store(0, std::memory_order_relaxed);
    ++job_;
    bool asleep = false;
    for (Index i = 0; i < threads; ++i) {
      const Index first = chunks * i / threads, end = chunks * (i + 1) / threads;
      if (first == end) continue;            // there is nothing for that thread
      shares_[i].publish(job_, first, end);  // and with it the fields above
      asleep |= shares_[i].asleep.load();
    }
    if (asleep) {
      std::lock_guard lock(sleep_);
      wake_.notify_all();
    }
    run_chunks(0, job_);
    for (int turn = 0; done_.load(std::memory_order_acquire) < chunks; ++turn) pause_briefly(turn);
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    return true;
  }

  // All of them, or an error and as many as before.
  void set_threads(int count) {
    std::lock_guard idle(running_);
    const int before = threads();
    if (count == before) return;
    const std::optional<std::string> refusal = restart(count);
    if (!refusal) return;
    const int started = threads();
    restart(before);
    fail("set_threads", count, " threads were asked for, but the system starts only ", started,
         " (", *refusal, "); there are ", threads(), " as before");
  }

 private:
  // Ends the workers, for they read shares_, and starts others: so many, or as many as the system
  // starts, and what it said instead of starting more.
  std::optional<std::string> restart(int count) {
    std::vector<Share> shares(count);
    for (Share& share : shares) share.publish(job_, 0, 0);
    workers_.reserve(count);
    end_workers();
    shares_ = std::move(shares);
    std::optional<std::string> refusal;
    try {
      for (int i = 1; i < count; ++i)
        workers_.emplace_back([this, i, seen = job_] { work(i, seen); });
    } catch (const std::system_error& error) {
      refusal = error.code().message();
      restart(static_cast<int>(workers_.size()) + 1);
    }
    threads_ = static_cast<int>(workers_.size()) + 1;
    return refusal;
  }

  void end_workers() {
    {
      std::lock_guard lock(sleep_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
    workers_.clear();
    stopping_ = false;
  }

  // One's own chunks, then those of the others.
  void run_chunks(int thread, std::uint32_t job) {
    const int count = static_cast<int>(shares_.size());
    for (int i = 0; i < count; ++i) {
      Index taken = 0;
      for (std::optional<Index> chunk; (chunk = shares_[(thread + i) % count].take(job)); ++taken) {
        if (taken == 0 && thread > 0) set(environment_);
        run_chunk(*chunk);
      }
      if (taken > 0) done_.fetch_add(taken, std::memory_order_acq_rel);
    }
  }

  void run_chunk(Index chunk) {
    const InsideChunk inside;
    inside_job = true;
    try {
      (*body_)(chunk * grain_, std::min(n_, (chunk + 1) * grain_));
    } catch (...) {
      std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
    inside_job = false;
  }

  void work(int thread, std::uint32_t seen) {
    for (;;) {
      seen = wait_for_job_after(seen, shares_[thread]);
      if (stopping_) return;
      run_chunks(thread, seen);
    }
  }

  std::uint32_t wait_for_job_after(std::uint32_t seen, Share& share) {
    for (int turn = 0; turn < 4000; ++turn) {  // some 50 to 100 microseconds
      if (share.job() != seen || stopping_) return share.job();
      pause_briefly(turn);
    }
    std::unique_lock lock(sleep_);
    share.asleep = true;
    wake_.wait(lock, [&] { return stopping_ || share.job() != seen; });
    share.asleep = false;
    return share.job();
  }

  static constexpr Index most_chunks = 0xFFFFFFFF;  // that a ticket can count

  std::vector<Share> shares_{1};  // one per thread, the calling thread's first
  std::vector<std::thread> workers_;
  std::atomic<int> threads_ = 1;
  // A job holds running_, and so does a change of the number of threads.
  std::mutex running_, sleep_, error_mutex_;
  std::condition_variable wake_;
  std::atomic<bool> stopping_ = false;
  std::uint32_t job_ = 0;
  Index n_ = 0, grain_ = 0;
  Environment environment_{};  // the calling thread's
  const std::function<void(Index, Index)>* body_ = nullptr;
  std::exception_ptr error_;
  alignas(64) std::atomic<Index> done_ = 0;  // chunks
};

// The pool of this process. It is never destroyed. A forked child forgets its parent's, whose
// workers it does not have and whose locks may be held for ever, and makes its own when it needs
// one.
std::atomic<ThreadPool*> current_pool = nullptr;
std::atomic<int> wanted_threads = 0;  // 0: nobody has asked yet
constinit std::mutex making_a_pool;

void forget_pool_after_fork() {
  if (ThreadPool* parents = current_pool.exchange(nullptr)) wanted_threads = parents->threads();
  new (&making_a_pool) std::mutex;
  inside_job = false;
}

ThreadPool& pool() {
  if (ThreadPool* made = current_pool.load(std::memory_order_acquire)) return *made;
  std::lock_guard lock(making_a_pool);
  if (ThreadPool* made = current_pool.load(std::memory_order_acquire)) return *made;
  [[maybe_unused]] static const int once = pthread_atfork(nullptr, nullptr, forget_pool_after_fork);
  const int wanted = wanted_threads;
  auto* made = new ThreadPool(wanted > 0 ? wanted : std::min(available_processors(), most_threads));
  current_pool.store(made, std::memory_order_release);
  return *made;
}

}  // namespace

void set_threads(int count) {
  if (count < 1) fail("set_threads", "at least 1 thread is needed, got ", count);
  if (count > most_threads)
    fail("set_threads", "at most ", most_threads, " threads are possible, got ", count);
  if (InsideChunk::now())
    fail("set_threads", "the number of threads cannot change inside of a chunk of parallel work");
  pool().set_threads(count);
}

int threads() { return pool().threads(); }

void parallel_chunks(Index n, Index grain, const std::function<void(Index, Index)>& body) {
  if (!inside_job && threads() > 1 && pool().run(n, grain, body)) return;
  const InsideChunk inside;
  for (Index begin = 0; begin < n; begin += grain) body(begin, std::min(n, begin + grain));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

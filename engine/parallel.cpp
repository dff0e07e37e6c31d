// A worker that has nothing to do spins briefly, because the next op usually follows within
// microseconds, and then sleeps.
#include "engine/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

thread_local bool inside_chunk = false;

// Yielding is a system call, in which a worker would miss the beginning of the next job; but where
// there are more threads than processors, nothing moves without it.
void pause_briefly(int turn) {
  if (turn % 512 == 511) {
    std::this_thread::yield();
  } else {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
}

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
    std::uint64_t now = ticket.load(std::memory_order_acquire);
    while (static_cast<std::uint32_t>(now >> 32) == job && static_cast<std::uint32_t>(now) > 0)
      if (ticket.compare_exchange_weak(now, now - 1, std::memory_order_acq_rel))
        return end - static_cast<std::uint32_t>(now);
    return std::nullopt;
  }
};

class ThreadPool {
 public:
  explicit ThreadPool(int threads) : shares_(threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this, i] { work(i); });
  }
  ~ThreadPool() {
    {
      std::lock_guard lock(sleep_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }
  int threads() const { return static_cast<int>(shares_.size()); }

  // False when another thread is using the pool.
  bool run(Index n, Index grain, const std::function<void(Index, Index)>& body) {
    std::unique_lock busy(running_, std::try_to_lock);
    if (!busy) return false;
    const Index chunks = (n + grain - 1) / grain, threads = this->threads();
    n_ = n, grain_ = grain, body_ = &body;
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
    const Index left = chunks - run_chunks(0, job_, [](Index) {});
    for (int turn = 0; done_.load(std::memory_order_acquire) < left; ++turn) pause_briefly(turn);
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    return true;
  }

 private:
  // One's own chunks, then those of the others. Says after each share how many are done.
  template <class Done>
  Index run_chunks(int thread, std::uint32_t job, const Done& done) {
    Index total = 0;
    for (int i = 0; i < threads(); ++i) {
      Index count = 0;
      while (const auto chunk = shares_[(thread + i) % threads()].take(job)) {
        run_chunk(*chunk);
        ++count;
      }
      if (count > 0) done(count);
      total += count;
    }
    return total;
  }

  void run_chunk(Index chunk) {
    inside_chunk = true;
    try {
      (*body_)(chunk * grain_, std::min(n_, (chunk + 1) * grain_));
    } catch (...) {
      std::lock_guard lock(error_mutex_);
      if (!error_) error_ = std::current_exception();
    }
    inside_chunk = false;
  }

  void work(int thread) {
    std::uint32_t seen = 0;
    for (;;) {
      seen = wait_for_job_after(seen, shares_[thread]);
      if (stopping_) return;
      run_chunks(thread, seen,
                 [this](Index count) { done_.fetch_add(count, std::memory_order_acq_rel); });
    }
  }

  std::uint32_t wait_for_job_after(std::uint32_t seen, Share& share) {
    for (int turn = 0; turn < 4000; ++turn) {  // some 50 to 100 microseconds
      if (share.job() != seen) return share.job();
      pause_briefly(turn);
    }
    std::unique_lock lock(sleep_);
    share.asleep = true;
    wake_.wait(lock, [&] { return stopping_ || share.job() != seen; });
    share.asleep = false;
    return share.job();
  }

  std::vector<Share> shares_;  // one per thread, the calling thread's first
  std::vector<std::thread> workers_;
  std::mutex running_, sleep_, error_mutex_;
  std::condition_variable wake_;
  std::atomic<bool> stopping_ = false;
  std::uint32_t job_ = 0;
  Index n_ = 0, grain_ = 0;
  const std::function<void(Index, Index)>* body_ = nullptr;
  std::exception_ptr error_;
  alignas(64) std::atomic<Index> done_ = 0;  // chunks, by the workers
};

std::unique_ptr<ThreadPool>& pool() {
  static auto pool = std::make_unique<ThreadPool>(
      std::max(1, static_cast<int>(std::thread::hardware_concurrency())));
  return pool;
}

}  // namespace

void set_threads(int count) {
  if (count < 1) fail("set_threads", "at least 1 thread is needed, got ", count);
  if (count != threads()) pool() = std::make_unique<ThreadPool>(count);
}

int threads() { return pool()->threads(); }

void parallel_chunks(Index n, Index grain, const std::function<void(Index, Index)>& body) {
  if (!inside_chunk && threads() > 1 && pool()->run(n, grain, body)) return;
  for (Index begin = 0; begin < n; begin += grain) body(begin, std::min(n, begin + grain));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

// A worker that has nothing to do spins briefly, because the next op usually follows within
// microseconds, and then sleeps.
#include "engine/parallel.h"

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

thread_local bool inside_chunk = false;

void pause_briefly(int turn) {
  if (turn % 64 == 63) {
    std::this_thread::yield();
  } else {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
}

class ThreadPool {
 public:
  explicit ThreadPool(int threads) {
    for (int i = 1; i < threads; ++i) workers_.emplace_back([this] { work(); });
  }
  ~ThreadPool() {
    {
      std::lock_guard lock(sleep_);
      stopping_ = true;
    }
    wake_.notify_all();
    for (std::thread& worker : workers_) worker.join();
  }
  int threads() const { return static_cast<int>(workers_.size()) + 1; }

  // False when another thread is using the pool.
  bool run(Index n, Index grain, const std::function<void(Index, Index)>& body) {
    std::unique_lock busy(running_, std::try_to_lock);
    if (!busy) return false;
    n_ = n, grain_ = grain, body_ = &body, chunks_ = (n + grain - 1) / grain;
    done_.store(0, std::memory_order_relaxed);
    const std::uint64_t job = (ticket_.load() >> 32) + 1;
    ticket_.store(job << 32 | chunks_);  // publishes the fields above
    if (sleepers_.load() > 0) {
      std::lock_guard lock(sleep_);
      wake_.notify_all();
    }
    take_chunks(static_cast<std::uint32_t>(job));
    for (int turn = 0; done_.load(std::memory_order_acquire) < chunks_; ++turn) pause_briefly(turn);
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
    return true;
  }

 private:
  // The ticket holds the job's number and how many of its chunks nobody has taken, so that a worker
  // that wakes late cannot take a chunk of a job that is over. Only a chunk taken keeps the job's
  // fields alive: before that, they may already belong to the next job.
  void take_chunks(std::uint32_t job) {
    std::uint64_t ticket = ticket_.load(std::memory_order_acquire);
    while (static_cast<std::uint32_t>(ticket >> 32) == job) {
      const Index left = static_cast<std::uint32_t>(ticket);
      if (left == 0) return;
      if (!ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acq_rel)) continue;
      run_chunk(chunks_ - left);
      ticket = ticket_.load(std::memory_order_acquire);
    }
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
    done_.fetch_add(1, std::memory_order_acq_rel);
  }

  void work() {
    std::uint32_t seen = 0;
    for (;;) {
      seen = wait_for_job_after(seen);
      if (stopping_) return;
      take_chunks(seen);
    }
  }

  std::uint32_t current_job() const { return static_cast<std::uint32_t>(ticket_.load() >> 32); }

  std::uint32_t wait_for_job_after(std::uint32_t seen) {
    for (int turn = 0; turn < 4000; ++turn) {  // some 50 to 100 microseconds
      if (current_job() != seen) return current_job();
      pause_briefly(turn);
    }
    std::unique_lock lock(sleep_);
    ++sleepers_;
    wake_.wait(lock, [&] { return stopping_ || current_job() != seen; });
    --sleepers_;
    return current_job();
  }

  std::vector<std::thread> workers_;
  std::mutex running_, sleep_, error_mutex_;
  std::condition_variable wake_;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> sleepers_ = 0;
  std::atomic<std::uint64_t> ticket_ = 0;
  std::atomic<Index> done_ = 0;
  Index n_ = 0, grain_ = 0, chunks_ = 0;
  const std::function<void(Index, Index)>* body_ = nullptr;
  std::exception_ptr error_;
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

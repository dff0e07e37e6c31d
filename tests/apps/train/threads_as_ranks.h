// Ranks in one process, a thread each, whose messages go through queues: for tests of what ranks do
// together, without MPI.
#pragma once

#include <condition_variable>
#include <cstring>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "backflow/apps/train/ranks.h"

namespace backflow::inline BACKFLOW_PRECISION {

class Post {
 public:
  explicit Post(Index ranks) : ranks_(ranks), boxes_(ranks * ranks), sent_(ranks) {}
  Index ranks() const { return ranks_; }

  void put(Index from, Index to, std::span<const std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    boxes_[from * ranks_ + to].emplace_back(bytes.begin(), bytes.end());
    sent_[from] += std::ssize(bytes);
    came_.notify_all();
  }
  // Fails where a message has another length than is expected, or where its sender has given up.
  void take(Index from, Index to, std::span<std::byte> bytes) {
    std::unique_lock lock(mutex_);
    auto& box = boxes_[from * ranks_ + to];
    came_.wait(lock, [&] { return !box.empty() || closed_; });
    if (box.empty()) fail("post", "rank ", from, " has failed");
    if (box.front().size() != bytes.size())
      fail("post", "rank ", to, " expects ", bytes.size(), " bytes, rank ", from, " sent ",
           box.front().size());
    std::copy(box.front().begin(), box.front().end(), bytes.begin());
    box.pop_front();
  }
  void close() {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    came_.notify_all();
  }
  Index bytes_sent_by(Index rank) const { return sent_[rank]; }

 private:
  Index ranks_;
  std::mutex mutex_;
  std::condition_variable came_;
  std::vector<std::deque<std::vector<std::byte>>> boxes_;  // by sender and receiver
  std::vector<Index> sent_;
  bool closed_ = false;
};

class ThreadAsRank final : public Ranks {
 public:
  ThreadAsRank(Post& post, Index rank) : post_(post), rank_(rank) {}
  Index count() const override { return post_.ranks(); }
  Index rank() const override { return rank_; }
  void exchange(Index other, std::span<const std::byte> sent,
                std::span<std::byte> received) override {
    post_.put(rank_, other, sent);
    post_.take(other, rank_, received);
  }

 private:
  Post& post_;
  Index rank_;
};

// What action(ranks) returns on each of so many ranks. The first rank's exception is rethrown.
template <class Action>
auto on_ranks(Post& post, const Action& action) {
  std::vector<std::invoke_result_t<Action, Ranks&>> results(post.ranks());
  std::vector<std::exception_ptr> errors(post.ranks());
  std::vector<std::thread> threads;
  for (Index i = 0; i < post.ranks(); ++i)
    threads.emplace_back([&, i] {
      try {
        ThreadAsRank rank(post, i);
        results[i] = action(rank);
      } catch (...) {
        errors[i] = std::current_exception();
        post.close();
      }
    });
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
  return results;
}
template <class Action>
auto on_ranks(Index count, const Action& action) {
  Post post(count);
  return on_ranks(post, action);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/engine/parallel.h"

#include <algorithm>
#include <atomic>
#include <cfenv>
#include <chrono>
#include <memory>
#include <mutex>
#include <numeric>
#include <thread>
#include <vector>

#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Chunk = std::pair<Index, Index>;

class Parallel : public ::testing::Test {
 protected:
  void TearDown() override { set_threads(before_); }
  const int before_ = threads();
};

std::vector<Chunk> chunks_of(Index n, Index grain) {
  std::mutex mutex;
  std::vector<Chunk> chunks;
  parallel_for(n, grain, [&](Index begin, Index end) {
    std::lock_guard lock(mutex);
    chunks.emplace_back(begin, end);
  });
  std::sort(chunks.begin(), chunks.end());
  return chunks;
}

// True when two chunks can run at the same moment, each waiting for the other.
bool two_chunks_meet() {
  std::atomic<int> arrived = 0;
  std::atomic<bool> met = true;
  parallel_for(2, 1, [&](Index, Index) {
    ++arrived;
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
    while (arrived < 2 && met) {
      if (std::chrono::steady_clock::now() > deadline) met = false;
      std::this_thread::yield();
    }
  });
  return met;
}

TEST_F(Parallel, EveryThreadRoundsAsTheCallingOneDoes) {
  set_threads(3);
  const auto third = [] {
    const volatile Real one = 1, three = 3;
    return one / three;
  };
  for (int turn = 0; turn < 10; ++turn)
    for (const int mode : {FE_UPWARD, FE_TONEAREST}) {
      std::fesetround(mode);
      const Real expected = third();
      std::atomic<int> others = 0;
      parallel_for(30, 1, [&](Index, Index) {
        others += third() == expected ? 0 : 1;
        std::this_thread::yield();  // so that each has some
      });
      EXPECT_EQ(others, 0);
    }
}

TEST_F(Parallel, ChunksCoverTheRangeOnceAndDependOnTheShapeOnly) {
  for (int count : {1, 2, 3, 16}) {
    set_threads(count);
    for (Index n : {0, 1, 7, 8, 9, 1000, 8193})
      for (Index grain : {1, 3, 8, 5000}) {
        std::vector<Chunk> expected;
        for (Index begin = 0; begin < n; begin += grain)
          expected.emplace_back(begin, std::min(n, begin + grain));
        ASSERT_EQ(chunks_of(n, grain), expected)
            << count << " threads, n = " << n << ", grain = " << grain;
      }
  }
}

TEST_F(Parallel, ThreadsReportsWhatWasSet) {
  for (int count : {1, 2, 16, 3}) {
    set_threads(count);
    EXPECT_EQ(threads(), count);
  }
}

TEST_F(Parallel, FewerThanOneThreadIsRefused) {
  set_threads(2);
  for (int count : {0, -3}) {
    try {
      set_threads(count);
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.what(),
                "[set_threads] at least 1 thread is needed, got " + std::to_string(count));
    }
  }
  EXPECT_EQ(threads(), 2);
}

TEST_F(Parallel, OneThreadRunsEverythingItselfInOrder) {
  set_threads(1);
  std::vector<Index> order;
  const auto self = std::this_thread::get_id();
  parallel_for(50, 1, [&](Index begin, Index) {
    EXPECT_EQ(std::this_thread::get_id(), self);
    order.push_back(begin);
  });
  std::vector<Index> expected(50);
  std::iota(expected.begin(), expected.end(), Index{0});
  EXPECT_EQ(order, expected);
}

TEST_F(Parallel, WorkersTakeChunksAndWakeFromSleep) {
  set_threads(2);
  for (int round = 0; round < 5; ++round) {
    ASSERT_TRUE(two_chunks_meet()) << "round " << round;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));  // longer than a worker spins
  }
}

TEST_F(Parallel, NestedCallsRunInline) {
  for (int count : {1, 2, 3, 16}) {
    set_threads(count);
    std::atomic<int> elsewhere = 0;
    std::vector<std::atomic<int>> hits(20 * 30);
    parallel_for(20, 1, [&](Index outer, Index) {
      const auto self = std::this_thread::get_id();
      parallel_for(30, 1, [&](Index inner, Index) {
        if (std::this_thread::get_id() != self) ++elsewhere;
        ++hits[outer * 30 + inner];
      });
    });
    EXPECT_EQ(elsewhere, 0);
    EXPECT_TRUE(std::all_of(hits.begin(), hits.end(), [](const auto& n) { return n == 1; }));
  }
}

TEST_F(Parallel, ExceptionIsRethrownAndThePoolStaysUsable) {
  for (int count : {1, 2, 3, 16}) {
    set_threads(count);
    for (int round = 0; round < 20; ++round) {
      try {
        parallel_for(100, 1, [&](Index i, Index) {
          if (i == 5 * round) fail("chunk", "number ", i);
        });
        FAIL() << "no error";
      } catch (const Error& error) {
        EXPECT_EQ(error.what(), "[chunk] number " + std::to_string(5 * round));
      }
      ASSERT_EQ(chunks_of(100, 7).size(), 15u);
    }
  }
  set_threads(2);
  EXPECT_TRUE(two_chunks_meet()) << "calls no longer reach the workers";
}

TEST_F(Parallel, OneOfSeveralExceptionsIsRethrown) {
  set_threads(3);
  EXPECT_THROW(parallel_for(64, 1, [](Index, Index) { fail("chunk", "each"); }), Error);
  EXPECT_EQ(chunks_of(64, 1).size(), 64u);  // none is left over for the next call
}

TEST_F(Parallel, ExceptionOfANestedCallIsRethrown) {
  set_threads(3);
  EXPECT_THROW(parallel_for(8, 1,
                            [](Index, Index) {
                              parallel_for(8, 1, [](Index, Index) { fail("inner", "chunk"); });
                            }),
               Error);
  EXPECT_EQ(chunks_of(64, 1).size(), 64u);
}

TEST_F(Parallel, SeveralUserThreadsCallAtOnce) {
  for (int count : {2, 3, 16}) {
    set_threads(count);
    std::atomic<int> wrong = 0;
    std::vector<std::thread> users;
    for (int user = 0; user < 4; ++user)
      users.emplace_back([&wrong, user] {
        for (int round = 0; round < 1000; ++round) {
          const Index n = 1 + (user + round) % 60;
          std::atomic<Index> sum = 0;
          parallel_for(n, 1, [&](Index i, Index) { sum += i + 1; });
          if (sum != n * (n + 1) / 2) ++wrong;
        }
      });
    for (std::thread& user : users) user.join();
    EXPECT_EQ(wrong, 0);
  }
}

// Short and long jobs in turn: a worker that is late for one must not take a chunk of the next.
TEST_F(Parallel, ManyTinyJobsBackToBackRunEachChunkOnce) {
  const Index longest = 40;
  std::vector<std::atomic<int>> hits(longest);
  for (int count : {2, 3, 16}) {
    set_threads(count);
    const int jobs = count == 16 ? 20000 : 100000;
    for (int job = 0; job < jobs; ++job) {
      const Index n = job % 2 ? 2 : longest;
      for (Index i = 0; i < n; ++i) hits[i].store(0, std::memory_order_relaxed);
      std::atomic<int> outside = 0;
      parallel_for(n, 1, [&](Index begin, Index end) {
        if (begin >= n || end != begin + 1) {
          ++outside;
        } else {
          hits[begin].fetch_add(1, std::memory_order_relaxed);
        }
      });
      ASSERT_EQ(outside, 0) << "job " << job;
      for (Index i = 0; i < n; ++i) ASSERT_EQ(hits[i], 1) << "job " << job << ", chunk " << i;
    }
  }
}

TEST_F(Parallel, PoolsComeAndGo) {
  for (int round = 0; round < 100; ++round) {
    set_threads(1 + round % 5);
    ASSERT_EQ(chunks_of(10, 1).size(), 10u);
  }
}

TEST_F(Parallel, MoreThreadsThanMakeSenseAreRefused) {
  EXPECT_EQ(error_of([] { set_threads(1'000'000'000); }),
            "[set_threads] at most 4096 threads are possible, got 1000000000");
}

TEST_F(Parallel, NumberOfThreadsCannotChangeInsideAChunk) {
  for (int count : {1, 3})
    for (const auto& [n, grain] : {Chunk{1, 5}, Chunk{20, 1}}) {
      set_threads(count);
      std::atomic<int> refused = 0, chunks = 0;
      parallel_for(n, grain, [&](Index, Index) {
        ++chunks;
        parallel_for(2, 5, [](Index, Index) {});  // which is over
        refused += error_of([] { set_threads(2); }) ==
                   "[set_threads] the number of threads cannot change inside of a chunk of "
                   "parallel work";
      });
      EXPECT_EQ(refused, chunks) << count << " threads, " << n << " elements";
      EXPECT_EQ(threads(), count);
      set_threads(2);  // outside
    }
  EXPECT_THROW(parallel_for(1, 1, [](Index, Index) { fail("chunk", "throws"); }), Error);
  set_threads(1);
}

TEST_F(Parallel, NumberOfThreadsMayChangeWhileOthersCompute) {
  std::atomic<bool> stop = false;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> users;
  for (int user = 0; user < 3; ++user)
    users.emplace_back([&] {
      while (!stop) {
        std::atomic<Index> sum = 0;
        parallel_for(200, 1, [&](Index i, Index) { sum += i; });
        if (sum != 199 * 200 / 2) ++wrong;
      }
    });
  for (int round = 0; round < 200; ++round) {
    set_threads(1 + round % 4);
    EXPECT_EQ(threads(), 1 + round % 4);
  }
  stop = true;
  for (std::thread& user : users) user.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

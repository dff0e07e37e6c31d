// What outlives what: static objects, threads that come and go, forked children, threads that the
// system does not start. Each runs in a child process, whose exit code tells.
#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "backflow/engine/backward.h"
#include "backflow/engine/parallel.h"
#include "backflow/ops/conv.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/ops/reduce.h"
#include "backflow/tests/check.h"

// LeakSanitizer asks this. What the threads of a forked child's parent held is nobody's in the
// child.
static bool in_a_forked_child = false;
extern "C" int __lsan_is_turned_off() { return in_a_forked_child; }

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Chunks on every thread, workspaces, OpenBLAS, a graph.
double compute() {
  const Var x = Var::leaf(Random(1).normal({64, 400})), w = Var::leaf(Random(2).normal({400, 300}));
  const Var images = Random(3).normal({8, 4, 12, 12}), kernel = Random(4).normal({4, 4, 3, 3});
  const Var loss = sum(tanh(matmul(x, w))) + sum(conv2d(images, kernel, Conv2d::padded(1)));
  return static_cast<double>(sum(square(backward(loss)[w])).item());
}

// Whether f, run in a forked child that then exits as programs do, says true within a minute.
template <class F>
::testing::AssertionResult in_a_child(const F& f) {
  std::fflush(stdout);  // or the child prints it once more
  const pid_t child = fork();
  if (child == 0) {
    in_a_forked_child = true;
    alarm(60);
    bool right = false;
    try {
      right = f();
    } catch (const std::exception& error) {
      std::fprintf(stderr, "in a child: %s\n", error.what());
    }
    std::exit(right ? 0 : 1);  // and so destroys statics
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return ::testing::AssertionSuccess();
  if (WIFEXITED(status)) return ::testing::AssertionFailure() << "exit " << WEXITSTATUS(status);
  return ::testing::AssertionFailure() << "killed by signal " << WTERMSIG(status);
}

Var long_history() {
  Var y = Var::leaf(Tensor({4}, {1, 2, 3, 4}));
  for (int i = 0; i < 1000; ++i) y = y + square(y) * Real(1e-9);
  return y;
}

TEST(Lifetime, StaticVarMayHaveAHistory) {
  EXPECT_TRUE(in_a_child([] {
    { const Var begun_and_ended = long_history(); }
    static const Var first = long_history();
    static const std::vector<Var> more(3, long_history() * first);
    return true;
  }));
}

TEST(Lifetime, StaticsDestructorMayCompute) {
  const double expected = compute();
  EXPECT_TRUE(in_a_child([&] {
    static const double wanted = expected;
    static const struct Computes {
      ~Computes() {
        if (compute() != wanted) _exit(3);
        set_threads(2);
        if (compute() != wanted) _exit(4);
      }
    } computes;
    return compute() == wanted;
  }));
}

TEST(Lifetime, ThreadMayComputeInItsLastDestructors) {
  const double expected = compute();
  static std::atomic<int> wrong;
  wrong = 0;
  std::thread([&] {
    struct Computes {
      double expected;
      ~Computes() { wrong += compute() != expected; }
    };
    thread_local const Computes before_the_workspaces{expected};
    wrong += compute() != expected;
  }).join();
  EXPECT_EQ(wrong, 0);
}

TEST(Fork, ChildComputesAndExits) {
  for (int count : {1, 3}) {
    const WithThreads with(count);
    const double expected = compute();
    EXPECT_TRUE(in_a_child([&] { return threads() == count && compute() == expected; }));
    EXPECT_TRUE(in_a_child([&] { return true; })) << "exits without computing";
    EXPECT_TRUE(in_a_child([&] {
      set_threads(2);
      return compute() == expected &&
             static_cast<bool>(in_a_child([&] { return compute() == expected; }));
    })) << "a grandchild";
    EXPECT_EQ(compute(), expected);
  }
}

TEST(Fork, WhileOtherThreadsComputeLeavesNoLockBehind) {
  if (sanitized) return;  // the sanitizer's own allocator leaves locks behind in such a child
  const WithThreads with(3);
  const double expected = compute();
  std::atomic<bool> stop = false;
  std::vector<std::thread> others;
  for (int i = 0; i < 3; ++i)
    others.emplace_back([&] {
      while (!stop) compute();
    });
  for (int i = 0; i < 20; ++i)
    EXPECT_TRUE(in_a_child([&] { return compute() == expected; })) << "child " << i;
  stop = true;
  for (std::thread& other : others) other.join();
}

// ---- Threads that cannot be started -------------------------------------------------------------

// Leaves so much more address space to this process.
void limit_memory(rlim_t bytes) {
  std::ifstream statm("/proc/self/statm");
  rlim_t pages = 0;
  statm >> pages;
  const rlim_t most = pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + bytes;
  const rlimit limit{most, most};
  setrlimit(RLIMIT_AS, &limit);
}
constexpr rlim_t enough_for_some_stacks = rlim_t{200} << 20;

TEST(Threads, ThatCannotBeStartedLeaveTheOldNumberAtWork) {
  if (sanitized) return;  // their shadow memory needs more than any limit
  const WithThreads with(2);
  const double expected = compute();
  EXPECT_TRUE(in_a_child([&] {
    compute();
    limit_memory(enough_for_some_stacks);
    const std::string error = error_of([] { set_threads(1000); });
    std::fprintf(stderr, "%s\n", error.c_str());
    return error.starts_with("[set_threads] 1000 threads were asked for, but the system starts") &&
           error.find('\n') == error.npos && threads() == 2 && compute() == expected;
  }));
}

TEST(Threads, OfTheDefaultAreAsManyAsTheSystemStarts) {
  if (sanitized) return;
  const WithThreads with(20);
  double expected = 0;
  // A thread that has not computed before: it makes OpenBLAS take its memory for all of them.
  std::thread([&] { expected = compute(); }).join();
  EXPECT_TRUE(in_a_child([&] {    // a pool of its own, of as many as its parent's: if it can
    pthread_attr_t large_stacks;  // it must not find room in those of the parent's threads
    pthread_attr_init(&large_stacks);
    pthread_attr_setstacksize(&large_stacks, enough_for_some_stacks / 4);
    pthread_setattr_default_np(&large_stacks);
    limit_memory(enough_for_some_stacks);
    return threads() >= 1 && threads() < 5 && compute() == expected;
  }));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

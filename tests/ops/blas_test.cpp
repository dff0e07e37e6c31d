// What OpenBLAS works in, where there is little address space: each test in a fresh process, since
// whoever has multiplied once has that memory.
#include "backflow/ops/blas.h"

#include <sys/resource.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <thread>

#include "backflow/engine/buffer.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/random.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Index mega = Index{1} << 20;

// From now on the process may map `bytes` more than it has.
void leave(Index bytes) {
  Index pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  rlimit limit;
  getrlimit(RLIMIT_AS, &limit);
  limit.rlim_cur = static_cast<rlim_t>(pages * sysconf(_SC_PAGESIZE) + bytes);
  setrlimit(RLIMIT_AS, &limit);
}

void leave_everything() {
  rlimit limit;
  getrlimit(RLIMIT_AS, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_AS, &limit);
}

std::string out_of_memory(const std::function<void()>& f) {
  try {
    f();
  } catch (const OutOfMemory& error) {
    return error.what();
  }
  return "no error";
}

void multiply() { matmul(Tensor::identity(300), Tensor::identity(300)); }

// A product that asks for ever is not waited for for ever.
template <class F>
void expect_exit(const F& f) {
  if (sanitized) return;  // a sanitizer maps memory of its own
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto with_alarm = [&] {
    alarm(30);
    f();
  };
  // Threads of OpenBLAS's own would begin before main(), and need what the limit denies.
  setenv("OPENBLAS_NUM_THREADS", "1", 1);
  EXPECT_EXIT(with_alarm(), testing::ExitedWithCode(0), "");
  unsetenv("OPENBLAS_NUM_THREADS");
}

TEST(Blas, ThatGetsNoMemoryIsOutOfMemory) {
  for (const auto& [name, f] : std::vector<std::pair<const char*, std::function<void()>>>{
           {"product", multiply},
           {"lu", [] { LU(Tensor::identity(300)); }},
           {"orthogonal", [] { orthogonal_factor(Tensor::identity(300)); }}}) {
    SCOPED_TRACE(name);
    expect_exit([&f = f] {
      set_threads(2);
      leave(200 * mega);
      const std::string line = out_of_memory(f);
      std::fputs(line.c_str(), stderr);
      _exit(line == "[blas] out of memory: 0.3 GB asked for the products of 2 threads" ? 0 : 1);
    });
  }
}

TEST(Blas, IsTriedAgainAfterAFailure) {
  expect_exit([] {
    set_threads(1);
    leave(100 * mega);
    if (out_of_memory(multiply) == "no error") _exit(1);
    leave_everything();
    _exit(out_of_memory(multiply) == "no error" ? 0 : 2);
  });
}

// On every thread of the pool, whatever fills the memory later.
TEST(Blas, HasItsMemoryAfterTheFirstProduct) {
  expect_exit([] {
    set_threads(3);
    multiply();
    leave(100 * mega);
    const Tensor a = Tensor::identity(1000);
    for (int i = 0; i < 20; ++i) matmul(a, a);
    _exit(0);
  });
}

TEST(Blas, OfOneThreadMoreThanThePoolHasIsAskedForThen) {
  expect_exit([] {
    set_threads(1);
    multiply();
    leave(100 * mega);
    std::string line;
    std::thread([&] { line = out_of_memory(multiply); }).join();
    _exit(line == "[blas] out of memory: 0.3 GB asked for the products of 2 threads" ? 0 : 1);
  });
}

TEST(Blas, IsLeftToTheNextThreadWhenOneEnds) {
  expect_exit([] {
    set_threads(1);
    const auto elsewhere = [] {
      std::string line;
      std::thread([&] { line = out_of_memory(multiply); }).join();
      return line;
    };
    multiply();
    elsewhere();
    leave(100 * mega);
    for (int i = 0; i < 5; ++i)
      if (elsewhere() != "no error") _exit(1);
    _exit(0);
  });
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

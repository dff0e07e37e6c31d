// Graphs of a million ops: stack, time and memory.
#include <gtest/gtest.h>
#include <malloc.h>
#include <pthread.h>

#include <algorithm>
#include <ctime>
#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "backflow/engine/backward.h"
#include "backflow/ops/pointwise.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// A stack this small is enough, though libraries take some of it for their own; a sanitizer makes
// every frame larger.
const std::size_t small_stack = sanitized ? 1 << 20 : 256 << 10;

// The processor's time, since others may use the machine.
double now_in_ns() { return 1e9 * static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

// Everything that malloc has handed out; the pool's blocks are among it.
Index heap_bytes() {
  const auto use = mallinfo2();
  return static_cast<Index>(use.uordblks + use.hblkhd);
}

void run_on_small_stack(std::function<void()> body) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, small_stack), 0);
  const auto start = [](void* f) -> void* {
    (*static_cast<std::function<void()>*>(f))();
    return nullptr;
  };
  pthread_t thread;
  ASSERT_EQ(pthread_create(&thread, &attributes, start, &body), 0);
  pthread_join(thread, nullptr);
  pthread_attr_destroy(&attributes);
}

const int million = sanitized ? 100000 : 1000000;   // a sanitizer is ten times slower
constexpr double most_ns = 2000, most_bytes = 600;  // per op
constexpr int ops_of_a_step = 10000;

// x * c^n in n ops, for a c so close to 1 that the end is finite.
Var chain_of_products(const Var& x, int ops) {
  const Var c = Tensor(Real(1 + 1e-7));
  Var y = x;
  for (int i = 0; i < ops; ++i) y = y * c;
  return y;
}

// The least that a graph of scalars can be, without the engine: a node holds its input, its value
// and a rule. Returns what building, sweeping and destroying it takes, per op.
double ns_of_a_bare_op() {
  struct Node {
    std::shared_ptr<Node> input;
    std::vector<double> value;
    std::function<double(double)> rule;
  };
  const double start = now_in_ns();
  auto y = std::make_shared<Node>(Node{nullptr, {1}, nullptr});
  for (int i = 0; i < ops_of_a_step; ++i) {
    const double c = 1 + 1e-7;
    y = std::make_shared<Node>(
        Node{y, {y->value[0] * c}, [y, c](double g) { return y->input ? g * c : g; }});
  }
  double gradient = 1;
  while (y->input) {
    gradient = y->rule(gradient);
    y->rule = nullptr;  // which holds the input as well
    y = std::exchange(y->input, nullptr);
  }
  EXPECT_NEAR(gradient, 1 + 1e-7 * ops_of_a_step, 1e-5);
  return (now_in_ns() - start) / ops_of_a_step;
}

// Times are told of machines on which a bare op takes 70 ns. Slower ones, and those whose caches
// others use at the same time, may take as many times longer as they do for bare ops.
double allowance(double bare_op_ns) { return std::max(1.0, bare_op_ns / 70); }

struct ChainCost {
  double forward = 1e9, backward = 1e9, destruction = 1e9;  // ns per op
  double bytes = 0;                                         // per op
  double total() const { return forward + backward + destruction; }
};

// What each of a million ops costs: keeping the graph in backward() leaves it to the destructor.
ChainCost cost_of_chain(const Var& x) {
  ChainCost cost;
  release_pooled_buffers();
  const Index heap_before = heap_bytes();
  const double start = now_in_ns();
  std::optional<Var> y = chain_of_products(x, million);
  const double built = now_in_ns();
  cost.bytes = static_cast<double>(heap_bytes() - heap_before) / million;
  const double measured = now_in_ns();
  EXPECT_NEAR(backward(*y, {}, Graph::keep)[x].item(), y->item() / x.item(), 1e-3);
  const double swept = now_in_ns();
  y.reset();
  const double destroyed = now_in_ns();
  cost.forward = (built - start) / million;
  cost.backward = (swept - measured) / million;
  cost.destruction = (destroyed - swept) / million;
  return cost;
}

TEST(BackwardChain, AMillionOpsNeedLittleStackTimeAndMemory) {
  ChainCost best;
  double bare = 1e9;
  run_on_small_stack([&] {
    const Var x = Var::leaf(Tensor(2));
    for (int run = 0; run < 3 && best.total() > most_ns; ++run) {
      for (int bares = 0; bares < 10; ++bares) bare = std::min(bare, ns_of_a_bare_op());
      const ChainCost cost = cost_of_chain(x);
      if (cost.total() < best.total()) best = cost;
    }
  });
  if (sanitized) return;  // a sanitizer's time and memory say nothing
  EXPECT_LE(best.total(), most_ns * allowance(bare))
      << "a bare op takes " << bare << " ns; forward " << best.forward << ", backward "
      << best.backward << ", destruction " << best.destruction;
  EXPECT_LE(best.bytes, most_bytes);
  EXPECT_GT(best.bytes, 50) << "the measurement sees nothing";
}

TEST(BackwardChain, AMillionOpsThatKeepTheirValuesNeedLittleMemoryToo) {
  double bytes = 0;
  run_on_small_stack([&bytes] {
    release_pooled_buffers();
    const Index before = heap_bytes();
    const Var x = Var::leaf(Tensor(1));
    Var y = x;
    for (int i = 0; i < million; ++i) y = tanh(y);
    bytes = static_cast<double>(heap_bytes() - before) / million;
    // y' = 1 - y^2 and so y ~ sqrt(3 / (2 n)): the gradient is about y^3.
    EXPECT_NEAR(y.item(), std::sqrt(1.5 / million), 1e-4);
    const Real gradient = backward(y)[x].item();
    EXPECT_GT(gradient, 0);
    EXPECT_LT(gradient, 1e-6);
  });
  if (sanitized) return;
  EXPECT_LE(bytes, most_bytes);
}

TEST(BackwardChain, AReleasingSweepAndAnUnusedHistoryNeedLittleStack) {
  run_on_small_stack([] {
    const Var x = Var::leaf(Tensor(2));
    EXPECT_NEAR(backward(chain_of_products(x, million))[x].item(), std::exp(1e-7 * million), 0.05);
    chain_of_products(x, million);  // destroyed without a backward
  });
}

TEST(BackwardChain, AWideHistoryIsDestroyedWithLittleStack) {
  run_on_small_stack([] {  // each node is held by two others
    const Var x = Var::leaf(Tensor(1));
    Var a = x, b = x;
    for (int i = 0; i < 100000; ++i) {
      const Var next = a + b;
      b = a - b;
      a = next;
    }
  });
}

TEST(BackwardChain, TenThousandOpsTakeLessThanAMicrosecondEach) {
  const Var x = Var::leaf(Tensor(Real(1)));
  double best = 1e9, bare = 1e9;
  for (int run = 0; run < 20; ++run) {  // by turns, as others may use the machine
    const double start = now_in_ns();
    const Var y = chain_of_products(x, ops_of_a_step);
    EXPECT_NEAR(backward(y)[x].item(), y.item(), 1e-3);
    best = std::min(best, (now_in_ns() - start) / ops_of_a_step);
    bare = std::min(bare, ns_of_a_bare_op());
  }
  if (sanitized) return;  // a sanitizer's time says nothing
  EXPECT_LT(best, 1000 * allowance(bare)) << "a bare op takes " << bare << " ns";
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

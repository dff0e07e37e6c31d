// Along the last axis there are kernels of their own: they must give what the others give along the
// first one.
#include <limits>

#include "backflow/engine/backward.h"
#include "backflow/ops/axis.h"
#include "backflow/ops/random.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Index lengths[] = {1,  2,  3,  4,  5,  7,   8,   9,    10,   15,   16,
                             17, 20, 63, 64, 65, 127, 200, 1000, 2048, 2049, 9001};

using AlongAxis = std::function<Var(const Var&, int)>;

const std::vector<std::pair<const char*, AlongAxis>> ops = {
    {"sum", [](const Var& x, int axis) { return sum(x, {axis}, true); }},
    {"max", [](const Var& x, int axis) { return max(x, {axis}, true); }},
    {"logsumexp", [](const Var& x, int axis) { return logsumexp(x, {axis}, true); }},
    {"softmax", [](const Var& x, int axis) { return softmax(x, axis); }},
    {"log_softmax", [](const Var& x, int axis) { return log_softmax(x, axis); }},
    {"cumsum", [](const Var& x, int axis) { return cumsum(x, axis); }},
};

Var turned(const Var& x) { return permute(x, {1, 0}); }

TEST(Lines, LastAxisGivesWhatTheFirstGives) {
  for (const auto& [name, op] : ops)
    for (Index n : lengths)
      for (Index count : {1, 3, 9}) {
        const std::string what = name + (" of " + std::to_string(n));
        const Var x = Var::leaf(Random(1).normal({count, n}));
        const Var last = op(x, -1), first = turned(op(turned(x), 0));
        expect_close(last.value(), first.value(), 1e-5, what);
        const Tensor g = Random(2).normal(last.shape());
        expect_close(backward(last, g)[x], backward(first, g)[x], 2e-5, "gradient, " + what);
      }
}

TEST(Lines, InfinitiesAndNanStayInTheirLine) {
  constexpr Real inf = std::numeric_limits<Real>::infinity();
  constexpr Real nan = std::numeric_limits<Real>::quiet_NaN();
  for (const auto& [name, op] : ops)
    for (Index n : {1, 2, 5, 10, 16, 40, 70})
      for (Real odd : {inf, -inf, nan}) {
        Tensor values = Random(1).normal({4, n});
        for (Index k : {2 * n, 4 * n - 1}) values.mutable_data()[k] = odd;
        const Var x = Var::leaf(values);
        const Var last = op(x, 1), first = turned(op(turned(x), 0));
        const Tensor g = Tensor::full(last.shape(), 1);
        const Tensor gradients[] = {backward(last, g)[x], backward(first, g)[x]};
        for (const auto& [a, b] :
             {std::pair(last.value(), first.value()), std::pair(gradients[0], gradients[1])})
          for (Index i = 0; i < a.size(); ++i)
            EXPECT_TRUE(std::isnan(a[i])   ? std::isnan(b[i])
                        : std::isinf(a[i]) ? a[i] == b[i]
                                           : std::abs(a[i] - b[i]) < Real(1e-4))
                << name << " of " << n << " with " << odd << ": " << a[i] << ", " << b[i];
      }
}

TEST(Lines, BitsDoNotDependOnThreads) {
  for (const auto& entry : ops)
    for (Index n : {10, 1000, 2049})
      expect_same_bits_on_any_threads([&] {
        const Var x = Var::leaf(Random(1).normal({50'000 / n, n}));
        const Var y = entry.second(x, 1);
        return std::vector{y.value(), backward(y, Random(2).normal(y.shape()))[x]};
      });
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

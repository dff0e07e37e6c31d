#include "backflow/ops/finite.h"

#include <limits>
#include <numeric>

#include "backflow/engine/backward.h"
#include "backflow/ops/pointwise.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Tensor counting(const Shape& shape) {
  Tensor out = Tensor::empty(shape);
  std::iota(out.mutable_data(), out.mutable_data() + out.size(), Real(0));
  return out;
}

TEST(AllFinite, FindsOneBadElementAnywhere) {
  EXPECT_TRUE(all_finite(counting({30000})));
  EXPECT_TRUE(all_finite(Tensor::zeros({0})));
  EXPECT_TRUE(all_finite(Tensor(std::numeric_limits<Real>::max())));
  const Real infinity = std::numeric_limits<Real>::infinity();
  for (Real bad : {std::numeric_limits<Real>::quiet_NaN(), infinity, -infinity})
    for (Index at : {0, 8191, 8192, 29999}) {
      Tensor x = counting({30000});
      x.mutable_data()[at] = bad;
      EXPECT_FALSE(all_finite(x)) << bad << " at " << at;
    }
}

TEST(AllFinite, OfAnUndefinedTensorFails) {
  EXPECT_NE(error_of([] { all_finite(Tensor()); }), "no error");
}

TEST(FirstNonFinite, NamesTheForwardOp) {
  const Var x = Var::leaf(Tensor({2}, {1, -1}));
  FirstNonFinite tracer;
  exp(x);
  EXPECT_FALSE(tracer.found());
  const Var bad = log(exp(x) - Real(1));
  EXPECT_EQ(tracer.found(), "the value of 'log'");
  exp(bad);
  EXPECT_EQ(tracer.found(), "the value of 'log'") << "the first one counts";
}

TEST(FirstNonFinite, NamesTheOpWhoseGradientIsBad) {
  const Var x = Var::leaf(Tensor({2}, {0, 1}));
  const Var y = exp(sqrt(square(x)));  // every value is finite, sqrt'(0) is not
  const Tensor ones({2}, {1, 1});
  FirstNonFinite tracer;
  EXPECT_FALSE(all_finite(backward(y, ones)[x]));
  EXPECT_EQ(tracer.found(), "a gradient computed by 'sqrt'");
}

TEST(FirstNonFinite, LooksAtEveryOutput) {
  const Real nan = std::numeric_limits<Real>::quiet_NaN();
  FirstNonFinite tracer;
  record("two", {Tensor(1), Tensor(nan)});
  EXPECT_EQ(tracer.found(), "the value of 'two'");
}

TEST(FirstNonFinite, FindsNothingInAHealthyGraph) {
  const Var x = Var::leaf(Tensor({2}, {1, 2})), constant = Tensor(3);
  FirstNonFinite tracer;
  backward(exp(x) * constant, Tensor({2}, {1, 1}));
  EXPECT_FALSE(tracer.found());
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

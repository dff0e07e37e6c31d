#include "backflow/ops/logmatmulexp.h"

#include <cmath>
#include <limits>

#include "backflow/ops/finite.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Real inf = std::numeric_limits<Real>::infinity();

// Every term beside the others, in an array of B D O I numbers.
Var of_all_terms(const Var& x, const Var& w) {
  const Index B = x.size(0), D = x.size(1), I = x.size(2), O = w.size(1);
  return logsumexp(reshape(x, {B, D, 1, I}) + reshape(w, {1, D, O, I}), {3});
}

struct Case {
  Index B, D, I, O;
  double spread;  // the standard deviation of x and w
};

TEST(LogMatmulExp, IsTheLogSumExpOfAllTermsWithItsGradients) {
  for (const auto& [B, D, I, O, spread] :
       {Case{3, 2, 4, 5, 1}, Case{1, 1, 1, 1, 3}, Case{130, 3, 7, 70, 2}, Case{70, 1, 50, 1, 1},
        Case{5, 2, 3, 4, 300}, Case{70, 2, 5, 6, 1e4}, Case{0, 2, 3, 4, 1}}) {
    SCOPED_TRACE(spread);
    const Var x = Var::leaf(Random(1).normal({B, D, I}) * spread);
    const Var w = Var::leaf(Random(2).normal({D, O, I}) * spread);
    const Var y = logmatmulexp(x, w), expected = of_all_terms(x, w);
    expect_close(y.value(), expected.value(), in_double ? 1e-12 : 1e-5, "y");
    const Tensor g = Random(3).normal(y.shape());
    const Gradients all = backward(y, g), of_terms = backward(expected, g);
    expect_close(all[x], of_terms[x], in_double ? 1e-9 : 1e-2, "the gradient of x");
    expect_close(all[w], of_terms[w], in_double ? 1e-9 : 1e-2, "the gradient of w");
  }
}

TEST(LogMatmulExp, HasTheGradientsOfItsDifferences) {
  const auto report =
      gradcheck([](const std::vector<Var>& in) { return std::vector{logmatmulexp(in[0], in[1])}; },
                {Random(1).normal({4, 3, 5}), Random(2).normal({3, 2, 5})});
  EXPECT_TRUE(report) << report.failure;
}

TEST(LogMatmulExp, OfMinusInfinityIsMinusInfinityWithGradient0) {
  const Var x = Var::leaf(Tensor({1, 1, 2}, {-inf, -inf})), w = Var::leaf(Tensor::zeros({1, 2, 2}));
  const Var y = logmatmulexp(x, w);
  EXPECT_EQ(y.value().values(), std::vector<Real>(2, -inf));
  const Gradients all = backward(y, Tensor::full({1, 1, 2}, 1));
  EXPECT_EQ(all[x].values(), std::vector<Real>(2, 0));
  EXPECT_EQ(all[w].values(), std::vector<Real>(4, 0));
}

TEST(LogMatmulExp, HasTheSameBitsOnAnyThreads) {
  expect_same_bits_on_any_threads([] {
    const Var x = Var::leaf(Random(1).normal({200, 3, 40}) * 50.0);
    const Var w = Var::leaf(Random(2).normal({3, 90, 40}) * 50.0);
    const Var y = logmatmulexp(x, w);
    const Gradients all = backward(y, Random(3).normal(y.shape()));
    return std::vector{y.value(), all[x], all[w]};
  });
}

TEST(LogMatmulExp, RefusesOtherShapes) {
  const auto error = [](const Shape& x, const Shape& w) {
    return error_of([&] { logmatmulexp(Tensor::zeros(x), Tensor::zeros(w)); });
  };
  EXPECT_EQ(error({2, 3, 4}, {3, 5, 6}),
            "[logmatmulexp] (B, D, I) and (D, O, I) with I > 0 expected, the shapes are (2, 3, 4) "
            "and (3, 5, 6)");
  for (const auto& [x, w] : std::vector<std::pair<Shape, Shape>>{{{2, 3, 4}, {2, 5, 4}},
                                                                 {{2, 4}, {3, 5, 4}},
                                                                 {{2, 3, 4}, {5, 4}},
                                                                 {{2, 3, 0}, {3, 5, 0}}})
    EXPECT_NE(error(x, w), "no error") << x << w;
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

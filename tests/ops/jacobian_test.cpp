#include "backflow/ops/jacobian.h"

#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double tolerance = in_double ? 1e-12 : 1e-5;

TEST(Jacobian, OfAnElementwiseFunctionIsDiagonal) {
  const Tensor x({3}, {1, -2, 3});
  const Tensor J = jacobian([](const Var& x) { return square(x); }, x);
  EXPECT_EQ(J.shape(), Shape({3, 3}));
  EXPECT_EQ(J.values(), (std::vector<Real>{2, 0, 0, 0, -4, 0, 0, 0, 6}));
}

TEST(Jacobian, OfALinearMapIsItsMatrix) {
  const Tensor A = Random(1).normal({2, 3}), x = Random(2).normal({3, 1});
  const Tensor J = jacobian([&](const Var& x) { return matmul(A, x); }, x);
  EXPECT_EQ(J.shape(), Shape({2, 1, 3, 1}));
  expect_close(J.reshape({2, 3}), A, tolerance, "A x");
}

TEST(Jacobian, PutsTheFunctionsAxesFirst) {
  const Tensor x = Random(1).normal({2, 3});
  const Tensor J = jacobian([](const Var& x) { return transpose(x); }, x);
  ASSERT_EQ(J.shape(), Shape({3, 2, 2, 3}));
  for (Index i = 0; i < 3; ++i)
    for (Index j = 0; j < 2; ++j)
      for (Index k = 0; k < 2; ++k)
        for (Index l = 0; l < 3; ++l) EXPECT_EQ(J[((i * 2 + j) * 2 + k) * 3 + l], i == l && j == k);
}

// d softmax_i / dx_j = p_i ([i = j] - p_j).
TEST(Jacobian, OfSoftmax) {
  const Tensor x({4}, {0.1, -0.5, 2, 1});
  const auto softmax = [](const Var& x) { return exp(x - logsumexp(x)); };
  const Tensor p = softmax(x).value(), J = jacobian(softmax, x);
  for (Index i = 0; i < 4; ++i)
    for (Index j = 0; j < 4; ++j)
      EXPECT_NEAR(J[i * 4 + j], p[i] * ((i == j) - p[j]), tolerance) << i << ", " << j;
}

TEST(Jacobian, OfAScalarHasTheShapeOfX) {
  const Tensor x({2, 2}, {1, 2, 3, 4});
  const Tensor J = jacobian([](const Var& x) { return sum(square(x)); }, x);
  EXPECT_EQ(J.shape(), Shape({2, 2}));
  EXPECT_EQ(J.values(), (std::vector<Real>{2, 4, 6, 8}));
  EXPECT_EQ(jacobian([](const Var& x) { return exp(x); }, Tensor(0)).shape(), Shape());
  EXPECT_EQ(jacobian([](const Var& x) { return x; }, Tensor({2}, {5, 6})).values(),
            (std::vector<Real>{1, 0, 0, 1}));
}

TEST(Jacobian, OfNothingIsEmpty) {
  const auto exponential = [](const Var& x) { return exp(x); };
  EXPECT_EQ(jacobian(exponential, Tensor::empty({0, 2})).shape(), Shape({0, 2, 0, 2}));
  EXPECT_EQ(jacobian([](const Var& x) { return sum(x); }, Tensor::empty({0})).shape(), Shape{0});
  EXPECT_EQ(jacobian([](const Var& x) { return slice(x, 0, 0, 0); }, Tensor::zeros({2})).shape(),
            Shape({0, 2}));
}

TEST(Jacobian, IsRecordedUnderNoGradAsWell) {
  const NoGrad no_grad;
  EXPECT_EQ(jacobian([](const Var& x) { return x * 3; }, Tensor(1)).item(), 3);
  EXPECT_FALSE(grad_enabled());
}

TEST(Jacobian, LeaksNothing) {
  const Tensor x = Random(1).normal({7});
  const Index before = live_bytes();
  jacobian([](const Var& x) { return exp(tanh(x)); }, x);
  EXPECT_EQ(live_bytes(), before);
}

TEST(Jacobian, RefusesMoreAxesThanATensorHas) {
  const auto same = [](const Var& x) { return exp(x); };
  EXPECT_EQ(jacobian(same, Tensor::zeros({1, 2, 1})).rank(), 6);
  EXPECT_EQ(error_of([&] {
              jacobian(same, Tensor::zeros({1, 2, 1, 1}));
            }),
            "[jacobian] the function's shape (1, 2, 1, 1) and x's (1, 2, 1, 1) have 8 axes "
            "together, expected at most 6; reshape them");
}

TEST(Jacobian, RefusesAFunctionThatDoesNotDependOnX) {
  const Tensor x({2}, {1, 2});
  EXPECT_EQ(error_of([&] { jacobian([](const Var& x) { return exp(x).detach(); }, x); }),
            "[jacobian] the function's value has no history, so it does not depend on x");
  EXPECT_NE(error_of([&] { jacobian([](const Var& x) { return exp(x).value(); }, x); }),
            "no error");
  const Var w = Var::leaf(Tensor(2));
  EXPECT_EQ(error_of([&] { jacobian([&](const Var&) { return exp(w); }, x); }),
            "[jacobian] the function's value depends on other leaves, but not on x");
  EXPECT_EQ(error_of([&] { jacobian([](const Var& x) { return x; }, Tensor()); }),
            "[jacobian] x is undefined: it has no values");
  EXPECT_EQ(error_of([&] { jacobian(nullptr, x); }), "[jacobian] the function is empty");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

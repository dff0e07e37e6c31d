// LU and what stands on it, against definitions and determinants known beforehand.
#include "backflow/ops/linalg.h"

#include <cblas.h>

#include <cmath>
#include <limits>

#include "backflow/ops/finite.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/check.h"
#include "backflow/tests/factorizations.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Limits = std::numeric_limits<Real>;
constexpr Real nan = Limits::quiet_NaN();

const std::vector<Index> sizes = {1, 2, 3, 7, 33, 130};

Tensor normal(const Shape& shape, std::uint64_t seed = 1) { return Random(seed).normal(shape); }

// Its eigenvalues fill a circle around 2.
Tensor well_conditioned(Index n, std::uint64_t seed = 1) {
  return normal({n, n}, seed) * Tensor(static_cast<Real>(1 / std::sqrt(double(n)))) +
         Real(2) * Tensor::identity(n);
}

Tensor diagonal(const std::vector<Real>& d) {
  const Index n = static_cast<Index>(d.size());
  return Tensor({n, 1}, d) * Tensor::identity(n);
}

// Its inverse consists of integers and its determinant is 1; with a condition number of 2e7 for
// n = 8 a factorization in float gets both wrong.
Tensor pascal(Index n) {
  std::vector<Real> a(n * n, 1);
  for (Index i = 1; i < n; ++i)
    for (Index j = 1; j < n; ++j) a[i * n + j] = a[(i - 1) * n + j] + a[i * n + j - 1];
  return {{n, n}, a};
}

testing::AssertionResult is_near(const Tensor& found, const Tensor& expected, double tolerance) {
  if (!(found.shape() == expected.shape()))
    return testing::AssertionFailure() << "the shape is " << found.shape();
  for (Index i = 0; i < found.size(); ++i)
    if (!(std::abs(found[i] - expected[i]) <= tolerance))
      return testing::AssertionFailure()
             << "element " << i << " is " << found[i] << ", not " << expected[i];
  return testing::AssertionSuccess();
}
constexpr double rounding = 100 * Limits::epsilon();

// Gaussian elimination with partial pivoting in long double.
long double log_abs_det_by_elimination(const Tensor& A) {
  const Index n = A.size(0);
  std::vector<std::vector<long double>> rows;
  for (Index i = 0; i < n; ++i) rows.emplace_back(A.data() + i * n, A.data() + (i + 1) * n);
  long double sum = 0;
  for (Index k = 0; k < n; ++k) {
    const auto smaller = [k](const auto& p, const auto& q) {
      return std::abs(p[k]) < std::abs(q[k]);
    };
    std::swap(rows[k], *std::max_element(rows.begin() + k, rows.end(), smaller));
    sum += std::log(std::abs(rows[k][k]));
    for (Index i = k + 1; i < n; ++i) {
      const long double factor = rows[i][k] / rows[k][k];
      for (Index j = k + 1; j < n; ++j) rows[i][j] -= factor * rows[k][j];
    }
  }
  return sum;
}

// ---- LU -------------------------------------------------------------------------------------

TEST(LU, LogAbsDetOfAKnownDeterminant) {
  struct Case {
    const char* name;
    Tensor A;
    double expected;
  };
  const Tensor lower({3, 3}, {2, 0, 0, 5, -3, 0, 1, 7, 4});
  const Tensor upper({3, 3}, {1, 8, -2, 0, 5, 9, 0, 0, 1});
  const Real tiny = Real(1e-30), huge = Real(1e30);  // 1e-1200 and 1e1200 are no doubles
  for (const auto& [name, A, expected] : std::vector<Case>{
           {"1x1", Tensor({1, 1}, {-2}), std::log(2)},
           {"0x0", Tensor::empty({0, 0}), 0},
           {"diagonal", diagonal({2, -3, Real(0.5), 8}), std::log(24)},
           {"permutation", Tensor({4, 4}, {0, 1, 0, 0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 1, 0}), 0},
           {"triangular", lower, std::log(24)},
           {"product", matmul(lower, upper), std::log(24) + std::log(5)},
           {"Pascal's", pascal(8), 0},
           {"tiny", diagonal(std::vector<Real>(40, tiny)), 40 * std::log(double(tiny))},
           {"huge", diagonal(std::vector<Real>(40, huge)), 40 * std::log(double(huge))},
           {"orthogonal", orthogonal_factor(normal({130, 130})), 0}}) {
    const double allowed = std::string(name) == "orthogonal" ? 130 * rounding : 1e-9;
    EXPECT_NEAR(LU(A).log_abs_det(), expected, allowed) << name;
    EXPECT_NEAR(LU(transpose(A)).log_abs_det(), expected, allowed) << name;
    EXPECT_FALSE(LU(A).singular()) << name;
  }
}

TEST(LU, IsInDoubleInBothBuilds) {
  const Tensor A = normal({300, 300});
  EXPECT_NEAR(LU(A).log_abs_det(), static_cast<double>(log_abs_det_by_elimination(A)), 1e-10);
  const Tensor P = pascal(8), x({8, 1}, {1, -2, 3, -4, 5, -6, 7, -8});
  const Tensor integers = pointwise(LU(P).inverse(), [](Real v) { return std::round(v); });
  EXPECT_EQ(matmul(integers, P).values(), Tensor::identity(8).values());
  EXPECT_TRUE(is_near(LU(P).inverse(), integers, 1e-5));
  EXPECT_TRUE(is_near(LU(P).solve(matmul(P, x)), x, 1e-6));
}

TEST(LU, InverseAndSolutionsSatisfyTheirDefinitions) {
  for (Index n : sizes)
    for (Index k : {1, 5, 40}) {
      const Tensor A = well_conditioned(n), B = normal({n, k}, 2);
      const LU lu(A);
      EXPECT_EQ(lu.size(), n);
      EXPECT_TRUE(is_near(matmul(A, lu.inverse()), Tensor::identity(n), rounding)) << n;
      EXPECT_TRUE(is_near(matmul(lu.inverse(), A), Tensor::identity(n), rounding)) << n;
      EXPECT_TRUE(is_near(matmul(A, lu.solve(B)), B, rounding)) << n << ' ' << k;
      EXPECT_TRUE(is_near(matmul(transposed(A), lu.solve_transposed(B)), B, rounding)) << n;
    }
}

TEST(LU, OfNoRowsAndOfNoColumnsIsEmpty) {
  const LU none(Tensor::empty({0, 0})), three(well_conditioned(3));
  EXPECT_EQ(none.inverse().shape(), Shape({0, 0}));
  EXPECT_EQ(none.solve(Tensor::empty({0, 5})).shape(), Shape({0, 5}));
  EXPECT_EQ(three.solve(Tensor::empty({3, 0})).shape(), Shape({3, 0}));
  EXPECT_EQ(three.solve_transposed(Tensor::empty({3, 0})).shape(), Shape({3, 0}));
}

TEST(LU, ASingularMatrixIsNamedByWhateverNeedsItsInverse) {
  // Powers of two: the pivot is 0 however a kernel rounds.
  const Tensor A({3, 3}, {4, 2, 1, 8, 4, 2, 1, 1, 1}), B = normal({3, 2});
  const LU lu(A);
  const std::string found = "the (3, 3) matrix is singular: pivot 2 is 0";
  EXPECT_TRUE(lu.singular());
  EXPECT_EQ(error_of([&] { lu.log_abs_det(); }), "[logabsdet] " + found);
  EXPECT_EQ(error_of([&] { lu.inverse(); }), "[inverse] " + found);
  EXPECT_EQ(error_of([&] { lu.solve(B); }), "[solve] " + found);
  EXPECT_EQ(error_of([&] { lu.solve_transposed(B); }), "[solve] " + found);
  EXPECT_EQ(error_of([&] { logabsdet(Var::leaf(A)); }), "[logabsdet] " + found);
  EXPECT_EQ(error_of([&] { inverse(Var::leaf(A)); }), "[inverse] " + found);
  EXPECT_EQ(error_of([&] { solve(Var::leaf(A), B); }), "[solve] " + found);
  EXPECT_EQ(error_of([] {
              logabsdet(Tensor::zeros({1, 1}));
            }),
            "[logabsdet] the (1, 1) matrix is singular: pivot 1 is 0");
}

TEST(LU, AMatrixThatIsNotSquareIsNamed) {
  const Tensor wide = normal({2, 3}), vector = normal({4}), cube = normal({2, 2, 2});
  const std::string expected = "[lu] a square matrix expected, the shape is ";
  EXPECT_EQ(error_of([&] { logabsdet(wide); }), expected + "(2, 3)");
  EXPECT_EQ(error_of([&] { solve(vector, wide); }), expected + "(4)");
  EXPECT_EQ(error_of([&] { inverse(Var::leaf(cube)); }), expected + "(2, 2, 2)");
}

TEST(LU, ARightHandSideThatDoesNotFitIsNamed) {
  const LU lu(well_conditioned(3));
  const std::string found = "[solve] the right-hand side of a (3, 3) matrix has the shape ";
  EXPECT_EQ(error_of([&] { lu.solve(normal({2, 3})); }), found + "(2, 3)");
  EXPECT_EQ(error_of([&] { lu.solve_transposed(normal({3})); }), found + "(3)");
}

TEST(LU, NaNIsNeitherSingularNorANumber) {
  for (Index n : {1, 5, 33})
    for (Index bad = 0; bad < n * n; ++bad) {
      Tensor A = well_conditioned(n);
      A.mutable_data()[bad] = nan;
      const LU lu(A);
      EXPECT_FALSE(lu.singular());
      EXPECT_TRUE(std::isnan(lu.log_abs_det())) << bad;
      EXPECT_FALSE(all_finite(lu.inverse())) << bad;
      EXPECT_FALSE(all_finite(lu.solve(normal({n, 1})))) << bad;
    }
}

TEST(LU, OneFactorizationServesValueAndGradient) {
  struct Case {
    const char* name;
    std::function<Var(const Var&)> op;
    Index expected;
  };
  const Tensor A = well_conditioned(7), B = normal({7, 3});
  const LU lu(A);
  for (const auto& [name, op, expected] : std::vector<Case>{
           {"logabsdet", [](const Var& A) { return logabsdet(A); }, 1},
           {"logabsdet of given factors", [&](const Var& A) { return logabsdet(A, lu); }, 0},
           {"inverse", [](const Var& A) { return inverse(A); }, 1},
           {"solve", [&](const Var& A) { return solve(A, B); }, 1}}) {
    const Index before = factorizations();
    const Var y = op(Var::leaf(A));
    backward(y, Tensor::full(y.shape(), 1));
    EXPECT_EQ(factorizations() - before, expected) << name;
  }
}

// In a fresh process, since a product elsewhere may have settled it. More threads, other bits.
TEST(LU, RunsOnOneThreadEvenBeforeTheFirstProduct) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  const auto factorize = [] {
    LU(Tensor::identity(3));
    std::exit(openblas_get_num_threads());
  };
  EXPECT_EXIT(factorize(), testing::ExitedWithCode(1), "");
}

// ---- Elimination in Real ----------------------------------------------------------------------

double frobenius_norm(const Tensor& A) {
  double squares = 0;
  for (Index i = 0; i < A.size(); ++i) squares += double(A[i]) * double(A[i]);
  return std::sqrt(squares);
}

// Its singular values are spread from 1 to 1 / condition.
Tensor of_condition(double condition, Index n) {
  std::vector<Real> singular(n);
  for (Index i = 0; i < n; ++i)
    singular[i] = static_cast<Real>(std::pow(condition, -double(i) / double(n - 1)));
  return matmul(matmul(orthogonal_factor(normal({n, n}, 1)), diagonal(singular)),
                orthogonal_factor(normal({n, n}, 2)));
}

// Sizes around the 32 columns below which LAPACK eliminates, and its halves of halves.
TEST(LogAbsDetInReal, IsThatOfTheFactors) {
  for (Index n : {1, 2, 7, 31, 32, 33, 34, 64, 65, 130, 300}) {
    const Tensor A = well_conditioned(n);
    const LU lu(A);
    const auto [value, gradient] = logabsdet_in_real(A);
    EXPECT_NEAR(value, lu.log_abs_det(), static_cast<double>(n) * rounding) << n;
    EXPECT_TRUE(is_near(gradient, transpose(lu.inverse()), rounding)) << n;
  }
  EXPECT_EQ(logabsdet_in_real(Tensor::empty({0, 0})).value, 0);
  EXPECT_EQ(logabsdet_in_real(Tensor::empty({0, 0})).gradient.shape(), Shape({0, 0}));
}

// Rows are exchanged across all blocks, and nothing is rounded.
TEST(LogAbsDetInReal, OfAPermutationIsExact) {
  for (Index n : {5, 40, 100}) {
    Tensor P = Tensor::zeros({n, n});
    for (Index i = 0; i < n; ++i) P.mutable_data()[i * n + (i * 37 + 11) % n] = 2;
    const auto [value, gradient] = logabsdet_in_real(P);
    EXPECT_NEAR(value, static_cast<double>(n) * std::log(2.0), 1e-12) << n;
    EXPECT_EQ(gradient.values(), (P * Tensor(Real(0.25))).values()) << n;
  }
}

TEST(LogAbsDetInReal, GradientLosesTheDigitsOfTheConditionNumberAndNoMore) {
  for (double condition : {1e2, 1e4, 1e6}) {
    const Tensor A = of_condition(condition, 150);
    const Tensor expected = transpose(LU(A).inverse());
    const auto [value, gradient] = logabsdet_in_real(A);
    const double error = frobenius_norm(gradient - expected) / frobenius_norm(expected);
    EXPECT_LT(error, Limits::epsilon() * condition) << condition;
    const double rounding =
        10 * Limits::epsilon() * (condition + std::abs(value));  // of the sum, too
    EXPECT_NEAR(value, LU(A).log_abs_det(), rounding) << condition;
    EXPECT_GT(error, 1e-4 * Limits::epsilon() * condition) << "this is not computed in Real";
  }
}

TEST(LogAbsDetInReal, APivotOf0IsTriedInDouble) {
  const Real third = Real(1) / 3;
  const Tensor A({2, 2}, {3, 1, 1, third});  // 3 third - 1 is 0 when rounded to Real
  if (in_double) {
    EXPECT_EQ(error_of([&] { logabsdet_in_real(A); }),
              "[logabsdet] the (2, 2) matrix is singular: pivot 2 is 0");
    return;
  }
  const auto [value, gradient] = logabsdet_in_real(A);
  EXPECT_NEAR(value, std::log(3 * double(third) - 1), 1e-6);
  EXPECT_EQ(gradient.values(), transpose(LU(A).inverse()).values());
}

// On the way, 1e25 * 1e25 is no float.
TEST(LogAbsDetInReal, WhatOverflowsIsTriedInDouble) {
  const Real big = Real(1e25);
  const Tensor A({3, 3}, {1, big, 0, 0, 1, big, 0, 0, big});
  const auto [value, gradient] = logabsdet_in_real(A);
  EXPECT_NEAR(value, 25 * std::log(10.0), 1e-6);
  EXPECT_TRUE(is_near(gradient, Tensor({3, 3}, {1, 0, 0, -big, 1, 0, big, -1, 1 / big}), 1e19));
}

TEST(LogAbsDetInReal, RefusesWhatLURefuses) {
  EXPECT_EQ(error_of([] {
              logabsdet_in_real(Tensor({2, 2}, {1, 2, 2, 4}));
            }),
            "[logabsdet] the (2, 2) matrix is singular: pivot 2 is 0");
  EXPECT_EQ(error_of([] {
              logabsdet_in_real(Tensor::zeros({40, 40}));
            }),
            "[logabsdet] the (40, 40) matrix is singular: pivot 1 is 0");
  EXPECT_EQ(error_of([] {
              logabsdet_in_real(Tensor::zeros({2, 3}));
            }),
            "[lu] a square matrix expected, the shape is (2, 3)");
}

TEST(LogAbsDetInReal, NaNIsNeitherSingularNorANumber) {
  for (Index n : {1, 5, 40})
    for (Index bad = 0; bad < n * n; bad += 3) {
      Tensor A = well_conditioned(n);
      A.mutable_data()[bad] = nan;
      const auto [value, gradient] = logabsdet_in_real(A);
      EXPECT_TRUE(std::isnan(value)) << n << ' ' << bad;
      EXPECT_FALSE(all_finite(gradient)) << n << ' ' << bad;
    }
}

// ---- Gradients ------------------------------------------------------------------------------

TEST(LogAbsDet, ValueIsThatOfTheFactorsAndGradientTheInverseTransposed) {
  for (Index n : sizes) {
    const Var A = Var::leaf(well_conditioned(n));
    const LU lu(A.value());
    const Var value = logabsdet(A);
    EXPECT_EQ(value.shape(), Shape());
    EXPECT_EQ(value.item(), static_cast<Real>(lu.log_abs_det()));
    EXPECT_EQ(backward(value)[A].values(), transpose(lu.inverse()).values());
  }
}

TEST(Linalg, GradientsAgreeWithDifferences) {
  using Inputs = std::vector<Var>;
  const auto check = [](const char* name, const VarFunction& f, const std::vector<Tensor>& inputs) {
    const auto report = gradcheck(f, inputs);
    EXPECT_TRUE(report) << name << " of " << inputs[0].shape() << ": " << report.failure;
  };
  for (Index n : {1, 2, 3, 7, 33}) {
    const Tensor A = well_conditioned(n), B = normal({n, 5}, 2), b = normal({n, 1}, 3);
    check("logabsdet", [](const Inputs& in) { return Inputs{logabsdet(in[0])}; }, {A});
    check("inverse", [](const Inputs& in) { return Inputs{inverse(in[0])}; }, {A});
    check("solve", [](const Inputs& in) { return Inputs{solve(in[0], in[1])}; }, {A, B});
    check("solve", [](const Inputs& in) { return Inputs{solve(in[0], in[1])}; }, {A, b});
    check("solve, A constant", [&](const Inputs& in) { return Inputs{solve(A, in[0])}; }, {B});
    check("solve, B constant", [&](const Inputs& in) { return Inputs{solve(in[0], B)}; }, {A});
    check("all of one matrix",
          [](const Inputs& in) {
            return Inputs{solve(in[0], in[0] * in[0]), inverse(in[0]) * logabsdet(in[0])};
          },
          {A});
  }
}

TEST(Linalg, OfNoRowsHasEmptyGradients) {
  const Var A = Var::leaf(Tensor::empty({0, 0})), B = Var::leaf(Tensor::empty({0, 5}));
  EXPECT_EQ(logabsdet(A).item(), 0);
  EXPECT_EQ(backward(logabsdet(A))[A].shape(), Shape({0, 0}));
  EXPECT_EQ(backward(inverse(A), A.value())[A].shape(), Shape({0, 0}));
  EXPECT_EQ(backward(solve(A, B), B.value())[B].shape(), Shape({0, 5}));
}

// ---- A batch of matrices ----------------------------------------------------------------------

Tensor matrices(Index count, Index n) {
  std::vector<Tensor> all;
  for (Index i = 0; i < count; ++i) all.push_back(well_conditioned(n, 10 + i));
  return stack(all, 0);
}

TEST(BatchedLogAbsDet, IsThatOfEachMatrix) {
  for (Index n : {1, 2, 7, 33}) {
    const Tensor A = matrices(5, n), seed = normal({5});
    const Var leaf = Var::leaf(A), y = logabsdet(leaf);
    ASSERT_EQ(y.shape(), Shape({5}));
    EXPECT_EQ(logabsdet(A).values(), y.value().values());
    const Tensor gradient = backward(y, seed)[leaf];
    for (Index i = 0; i < 5; ++i) {
      const Var one = Var::leaf(reshape(slice(A, 0, i, i + 1), {n, n}));
      EXPECT_EQ(logabsdet(one).item(), y.value()[i]);
      EXPECT_EQ(logabsdet(one.value()).item(), y.value()[i]);
      EXPECT_EQ(backward(logabsdet(one), Tensor(seed[i]))[one].values(),
                slice(gradient, 0, i, i + 1).values());
    }
  }
}

TEST(BatchedLogAbsDet, GradientsAgreeWithDifferences) {
  for (const auto& [count, n] : std::vector<std::pair<Index, Index>>{{1, 3}, {4, 1}, {3, 7}}) {
    const auto report = gradcheck([](const Var& A) { return logabsdet(A); }, matrices(count, n));
    EXPECT_TRUE(report) << count << ' ' << n << ": " << report.failure;
  }
}

TEST(BatchedLogAbsDet, HasTheSameBitsOnAnyNumberOfThreads) {
  for (const auto& [count, n] :
       std::vector<std::pair<Index, Index>>{{3000, 3}, {40, 33}, {3, 130}}) {
    const Tensor A = matrices(count, n), seed = normal({count});
    expect_same_bits_on_any_threads([&] {
      const Var leaf = Var::leaf(A), y = logabsdet(leaf);
      return std::vector{y.value(), backward(y, seed)[leaf]};
    });
  }
}

TEST(BatchedLogAbsDet, FactorisesEachMatrixOnce) {
  const Index before = factorizations();
  const Var A = Var::leaf(matrices(6, 4));
  backward(logabsdet(A), normal({6}));
  EXPECT_EQ(factorizations() - before, 6);
}

TEST(BatchedLogAbsDet, OfNoMatricesAndOfNoRows) {
  const Var none = Var::leaf(Tensor::empty({0, 3, 3})), empty = Var::leaf(Tensor::empty({2, 0, 0}));
  EXPECT_EQ(logabsdet(none).shape(), Shape({0}));
  EXPECT_EQ(backward(logabsdet(none), Tensor::empty({0}))[none].shape(), none.shape());
  EXPECT_EQ(logabsdet(empty).value().values(), (std::vector<Real>{0, 0}));
  EXPECT_EQ(backward(logabsdet(empty), normal({2}))[empty].shape(), empty.shape());
}

TEST(BatchedLogAbsDet, NaNStaysInItsMatrix) {
  Tensor A = matrices(3, 4);
  A.mutable_data()[20] = nan;
  const Tensor y = logabsdet(A);
  for (Index i = 0; i < 3; ++i) EXPECT_EQ(std::isnan(y[i]), i == 1);
}

TEST(BatchedLogAbsDet, ASingularMatrixIsNamedByItsNumber) {
  Tensor A = matrices(600, 3);
  for (Index i : {401, 17, 599}) std::fill_n(A.mutable_data() + i * 9, 9, Real(1));
  const std::string found = "[logabsdet] matrix 17 of the batch (600, 3, 3) is singular";
  EXPECT_EQ(error_of([&] { logabsdet(A); }), found);
  EXPECT_EQ(error_of([&] { logabsdet(Var::leaf(A)); }), found);
  EXPECT_EQ(error_of([] {
              logabsdet(Var(normal({2, 3, 4})));
            }),
            "[logabsdet] square matrices expected, the shape is (2, 3, 4)");
  EXPECT_EQ(error_of([] {
              logabsdet(normal({2, 2, 3, 3}));
            }),
            "[lu] a square matrix expected, the shape is (2, 2, 3, 3)");
}

// ---- Orthogonal factors ---------------------------------------------------------------------

TEST(OrthogonalFactor, TimesItsTransposeIsTheIdentity) {
  for (Index n : sizes) {
    const Tensor Q = orthogonal_factor(normal({n, n}));
    EXPECT_TRUE(is_near(matmul(Q, transposed(Q)), Tensor::identity(n), rounding)) << n;
    EXPECT_TRUE(is_near(matmul(transposed(Q), Q), Tensor::identity(n), rounding)) << n;
  }
}

TEST(OrthogonalFactor, LeavesALowerTriangleWithAPositiveDiagonal) {
  for (Index n : sizes) {
    const Tensor A = normal({n, n}), L = matmul(A, transposed(orthogonal_factor(A)));
    for (Index i = 0; i < n; ++i) {
      EXPECT_GT(L[i * n + i], 0) << n;
      for (Index j = i + 1; j < n; ++j) EXPECT_NEAR(L[i * n + j], 0, n * rounding) << n;
    }
  }
}

TEST(OrthogonalFactor, OfNoRowsIsEmptyAndSilent) {
  testing::internal::CaptureStdout();
  EXPECT_EQ(orthogonal_factor(Tensor::empty({0, 0})).shape(), Shape({0, 0}));
  EXPECT_EQ(testing::internal::GetCapturedStdout(), "");
}

TEST(OrthogonalFactor, IsOfASquareMatrix) {
  EXPECT_EQ(error_of([] {
              orthogonal_factor(Tensor::zeros({2, 3}));
            }),
            "[orthogonal_factor] a square matrix expected, the shape is (2, 3)");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

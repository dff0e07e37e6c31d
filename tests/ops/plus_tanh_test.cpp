#include "backflow/ops/plus_tanh.h"

#include <limits>

#include "backflow/ops/gradcheck.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/ops/reduce.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double epsilon = std::numeric_limits<Real>::epsilon();
constexpr Real inf = std::numeric_limits<Real>::infinity();

// Slopes above 0, some of them small.
Tensor slopes(Index M) { return exp(Var(Random(2).normal({1, M}).reshape({M}) * 2)).value(); }

Tensor square_matrix(Index M) { return Random(3).normal({M, M}); }

// y - tanh(y), with digits to spare.
long double minus_tanh(long double y) {
  const long double z = y * y;
  if (std::abs(y) > 0.02L) return y - std::tanh(y);
  return y * z * (1 / 3.0L - z * (2 / 15.0L - z * (17 / 315.0L - z * (62 / 2835.0L))));
}

TEST(TanhAndLogdet, HasTheGradientsOfItsInputs) {
  for (const auto& [M, B] : {std::pair<Index, Index>{1, 1}, {1, 7}, {3, 5}, {40, 2}}) {
    const auto both = [](const std::vector<Var>& in) {
      const auto [t, logdet] = tanh_and_logdet(in[0], in[1]);
      return std::vector{t, logdet};
    };
    const auto report = gradcheck(both, {Random(1).normal({M, B}) * 2, slopes(M)});
    EXPECT_TRUE(report) << report.failure;
  }
}

TEST(TanhAndLogdet, KeepsItsDigitsForSlopesNearZeroAndFarOut) {
  for (Real k : {Real(1e-28), Real(1e-12), Real(0.3), Real(1), Real(7), Real(1e12)})
    for (Real y : {Real(0), Real(1e-14), Real(-1e-6), Real(0.4), Real(-3), Real(25), Real(1e30)}) {
      const auto [t, logdet] = tanh_and_logdet(Tensor({1, 1}, {y}), Tensor({1}, {k}));
      const long double tanh = std::tanh(static_cast<long double>(y));
      const long double cosh = std::cosh(std::min<long double>(std::abs(y), 1000));
      const double expected = static_cast<double>(std::log(tanh * tanh + k / cosh / cosh));
      EXPECT_EQ(t.value().item(), static_cast<Real>(tanh)) << y;
      EXPECT_NEAR(logdet.value().item(), expected, 8 * epsilon * std::max(1.0, std::abs(expected)))
          << "k = " << k << ", y = " << y;
    }
}

TEST(TanhAndLogdet, IsFiniteWhereASlopeHasVanished) {
  const Var y = Var::leaf(Tensor({1, 2}, {0, 1})), k = Var::leaf(Tensor({1}, {0}));
  const Var logdet = tanh_and_logdet(y, k)[1];
  EXPECT_NEAR(logdet.value()[0], std::log(1e-30), 1e-4);
  const Gradients gradients = backward(sum(logdet));
  EXPECT_EQ(gradients[y][0], 0);
  EXPECT_TRUE(std::isfinite(gradients[k].item()));
}

TEST(OnePlusTanhTanh, IsRightToRoundingWhereTheProductIsNearMinusOne) {
  for (const auto& [a, b] : std::vector<std::pair<Real, Real>>{
           {0, 3}, {1, 0.5}, {15, -15}, {-15, 14}, {40, -30}, {20, 20}, {-2, 2}}) {
    const long double A = a, B = b;
    const double expected = static_cast<double>(std::cosh(A + B) / (std::cosh(A) * std::cosh(B)));
    const double actual = one_plus_tanh_tanh(Tensor(a), Tensor(b)).value().item();
    EXPECT_NEAR(actual / expected, 1, 8 * epsilon) << a << ", " << b;
  }
}

TEST(OnePlusTanhTanh, BroadcastsAndHasTheGradientsOfBoth) {
  const auto f = [](const std::vector<Var>& in) {
    return std::vector{one_plus_tanh_tanh(in[0], in[1])};
  };
  const auto report = gradcheck(f, {Random(1).normal({4, 3}), Random(2).normal({1, 3})});
  EXPECT_TRUE(report) << report.failure;
}

// What is left of the equation is no more than a rounding of y explains.
TEST(SolvePlusTanh, FindsTheRootToRoundingEvenWhereTheSlopeVanishes) {
  for (Real k :
       {Real(0), Real(1e-20), Real(1e-12), Real(1e-3), Real(0.2), Real(1), Real(9), Real(1e8)})
    for (Real r : {Real(0), Real(1e-25), Real(-1e-9), Real(0.1), Real(-0.7), Real(3), Real(1e6)}) {
      const Tensor zero = Tensor::zeros({1, 1});
      const Real y =
          solve_plus_tanh("test", Tensor({1, 1}, {r}), Tensor({1}, {k}), zero).value().item();
      const long double used = std::max<long double>(k, 1e-30L), t = std::tanh((long double)y);
      const long double left = minus_tanh(y) + used * t - r;
      const double slope = static_cast<double>(t * t + used * (1 - t * t));
      EXPECT_LE(std::abs(left), 4 * epsilon * (slope * std::abs(y) + std::abs(r)))
          << "k = " << k << ", r = " << r;
    }
}

TEST(SolvePlusTanh, SolvesTheTriangularSystemAndReadsNothingElseOfC) {
  const Index M = 5, B = 70;
  const Tensor r = Random(1).normal({M, B}) * 3, k = slopes(M);
  Tensor C = square_matrix(M);
  const Tensor y = solve_plus_tanh("test", r, k, C).value();
  for (Index i = 0; i < M; ++i)
    for (Index b = 0; b < B; ++b) {
      double sum = y.at({i, b}) + (k[i] - 1.0) * std::tanh(double{y.at({i, b})});
      for (Index j = i + 1; j < M; ++j) sum += C.at({i, j}) * std::tanh(double{y.at({j, b})});
      EXPECT_NEAR(sum, r.at({i, b}), 100 * epsilon);
    }
  for (Index i = 0; i < M; ++i)
    std::fill_n(C.mutable_data() + i * M, i + 1, std::numeric_limits<Real>::quiet_NaN());
  EXPECT_EQ(solve_plus_tanh("test", r, k, C).value().values(), y.values());
}

TEST(SolvePlusTanh, HasTheGradientsOfItsInputs) {
  for (const auto& [M, B] : {std::pair<Index, Index>{2, 1}, {2, 7}, {4, 5}}) {
    const auto f = [](const std::vector<Var>& in) {
      return std::vector{solve_plus_tanh("test", in[0], in[1], in[2])};
    };
    const Tensor r = Random(1).normal({M, B}) * 2, k = slopes(M) + Tensor(Real(0.1));
    const auto report = gradcheck(f, {r, k, square_matrix(M)});
    EXPECT_TRUE(report) << report.failure;
  }
}

TEST(SolvePlusTanh, KeepsInfinityAndNaN) {
  for (Real k : {Real(0.01), Real(2)}) {
    const Tensor r({1, 3}, {inf, -inf, std::numeric_limits<Real>::quiet_NaN()});
    const Tensor y = solve_plus_tanh("test", r, Tensor({1}, {k}), Tensor::zeros({1, 1})).value();
    EXPECT_EQ(y[0], inf);
    EXPECT_EQ(y[1], -inf);
    EXPECT_TRUE(std::isnan(y[2]));
  }
}

TEST(PlusTanh, OfNoExamplesIsEmpty) {
  const Tensor y = Tensor::empty({2, 0}), k = slopes(2);
  EXPECT_EQ(tanh_and_logdet(y, k)[1].shape(), Shape{0});
  EXPECT_EQ(solve_plus_tanh("test", y, k, square_matrix(2)).shape(), Shape({2, 0}));
}

TEST(PlusTanh, WrongShapesAreNamed) {
  EXPECT_EQ(error_of([] {
              tanh_and_logdet(Tensor::zeros({2, 3}), Tensor::zeros({3}));
            }),
            "[tanh_and_logdet] (M, B) and k (M) expected, the shapes are (2, 3) and (3)");
  EXPECT_EQ(
      error_of([] {
        solve_plus_tanh("test", Tensor::zeros({2, 3}), Tensor::zeros({2}), Tensor::zeros({3, 3}));
      }),
      "[solve_plus_tanh] C of (2, 2) expected, the shape is (3, 3)");
}

TEST(PlusTanh, HasTheSameBitsOnAnyThreads) {
  const Index M = 3, B = 9000;
  const Tensor r = Random(1).normal({M, B}), k = slopes(M), C = square_matrix(M);
  expect_same_bits_on_any_threads([&] {
    const Var R = Var::leaf(r), K = Var::leaf(k), c = Var::leaf(C);
    const Var y = solve_plus_tanh("test", R, K, c);
    const auto [t, logdet] = tanh_and_logdet(y, K);
    const Gradients gradients = backward(sum(t) + sum(logdet));
    return std::vector{y.value(), logdet.value(), gradients[R], gradients[K], gradients[c]};
  });
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

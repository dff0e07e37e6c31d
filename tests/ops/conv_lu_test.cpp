// The banded factors of a convolution, against the dense LU of the matrix that its definition
// gives.
#include "backflow/ops/conv_lu.h"

#include <cmath>
#include <limits>
#include <numbers>

#include "backflow/engine/parallel.h"
#include "backflow/ops/finite.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"
#include "backflow/ops/subnormals.h"
#include "backflow/tests/check.h"
#include "backflow/tests/factorizations.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Limits = std::numeric_limits<Real>;
// What is computed is good to 1e-10; what the interface hands out, to the digits of a Real.
constexpr double digits = std::max(1e-10, 10.0 * Limits::epsilon());

struct Size {
  Index channels, height, width, K, L;

  Shape kernel() const { return {channels, channels, K, L}; }
  Shape images(Index count) const { return {count, channels, height, width}; }
  Index numbers() const { return channels * height * width; }
};
std::ostream& operator<<(std::ostream& out, const Size& s) {
  return out << s.kernel() << " on " << s.height << 'x' << s.width;
}

const std::vector<Size> layers = {
    {1, 28, 28, 3, 3}, {4, 14, 14, 3, 3}, {16, 7, 7, 3, 3}, {4, 14, 14, 5, 5}, {8, 7, 7, 5, 5}};
const std::vector<Size> odd_sizes = {
    {1, 1, 1, 1, 1}, {2, 1, 1, 5, 3}, {3, 1, 4, 3, 3}, {3, 4, 1, 3, 3},  {2, 3, 2, 7, 9},
    {2, 9, 3, 3, 1}, {2, 9, 3, 1, 3}, {2, 9, 3, 5, 1}, {1, 3, 9, 5, 5},  {1, 13, 2, 7, 3},
    {5, 6, 2, 1, 1}, {2, 7, 5, 9, 3}, {3, 2, 8, 3, 5}, {1, 11, 4, 5, 7}, {1, 12, 3, 21, 3},
    {1, 2, 3, 9, 3}, {2, 3, 2, 11, 1}};

// The identity and noise; 1 makes the noise in T about as large as the identity. In steps of 2^-12,
// so that both builds see the same numbers.
Tensor kernel(const Size& s, double noise, std::uint32_t seed = 1) {
  const Index taps = s.K * s.L;
  const double scale = noise * std::sqrt(3.0 / static_cast<double>(s.channels * taps));
  std::vector<Real> w(s.kernel().size());
  for (std::uint32_t i = 0; i < w.size(); ++i) {
    const double uniform = philox({i}, {seed})[0] * 0x1p-31 - 1;
    w[i] = static_cast<Real>(std::round(uniform * scale * 0x1p12) * 0x1p-12);
  }
  for (Index c = 0; c < s.channels; ++c) w[c * (s.channels + 1) * taps + taps / 2] += 1;
  return {s.kernel(), w};
}

// The same with the identity at the taps above and below the centre, whose own are this small.
Tensor kernel_beside_centre(const Size& s, double noise, double centre) {
  Tensor w = kernel(s, noise);
  const Index taps = s.K * s.L;
  for (Index o = 0; o < s.channels; ++o)
    for (Index c = 0; c < s.channels; ++c) {
      Real* const tap = w.mutable_data() + (o * s.channels + c) * taps + taps / 2;
      *tap *= static_cast<Real>(centre);
      if (o == c) tap[-s.L] += 1, tap[s.L] += 1;
    }
  return w;
}

// visit(output, input, weight): T[output, input] = w[weight], with the indices of (C, H, W).
template <class Visit>
void for_each_entry(const Size& s, Visit visit) {
  for (Index o = 0; o < s.channels; ++o)
    for (Index c = 0; c < s.channels; ++c)
      for (Index u = 0; u < s.K; ++u)
        for (Index v = 0; v < s.L; ++v)
          for (Index i = 0; i < s.height; ++i)
            for (Index j = 0; j < s.width; ++j) {
              const Index y = i + u - s.K / 2, x = j + v - s.L / 2;
              if (0 <= y && y < s.height && 0 <= x && x < s.width)
                visit((o * s.height + i) * s.width + j, (c * s.height + y) * s.width + x,
                      ((o * s.channels + c) * s.K + u) * s.L + v);
            }
}

Tensor matrix(const Size& s, const Tensor& w) {
  const Index n = s.numbers();
  Tensor T = Tensor::zeros({n, n});
  Real* const t = T.mutable_data();
  for_each_entry(s, [&](Index out, Index in, Index weight) { t[out * n + in] = w[weight]; });
  return T;
}

// d log|det T| / dT = T^-T, gathered where w stands in T.
Tensor gradient_from(const Size& s, const Tensor& inverse) {
  std::vector<double> sum(s.kernel().size());
  for_each_entry(s, [&](Index out, Index in, Index weight) {
    sum[weight] += inverse[in * s.numbers() + out];
  });
  return {s.kernel(), {sum.begin(), sum.end()}};
}

double largest(const Tensor& x) {
  double found = 0;
  for (Index i = 0; i < x.size(); ++i) found = std::max(found, double(std::abs(x[i])));
  return found;
}

double norm1(const Tensor& A) {
  std::vector<double> columns(A.size(1));
  for (Index i = 0; i < A.size(); ++i) columns[i % A.size(1)] += std::abs(A[i]);
  return *std::max_element(columns.begin(), columns.end());
}

// Up to an error relative to the largest element.
testing::AssertionResult is_near(const Tensor& found, const Tensor& expected, double tolerance) {
  if (!(found.shape() == expected.shape()))
    return testing::AssertionFailure() << "the shape is " << found.shape();
  const double allowed = tolerance * largest(expected);
  for (Index i = 0; i < found.size(); ++i)
    if (!(std::abs(found[i] - expected[i]) <= allowed))
      return testing::AssertionFailure() << "element " << i << " is " << found[i] << ", not "
                                         << expected[i] << ", of at most " << largest(expected);
  return testing::AssertionSuccess();
}

// All that the banded factors give, against the dense ones. Returns the condition number.
double compare_with_dense(const Size& s, const Tensor& w) {
  const ConvLU banded(w, s.height, s.width);
  const Tensor T = matrix(s, w);
  const LU dense(T);
  const Tensor inverse = dense.inverse();
  EXPECT_FALSE(banded.singular()) << s;
  const double expected = dense.log_abs_det();
  EXPECT_NEAR(banded.log_abs_det(), expected, 1e-10 * std::max(1.0, std::abs(expected))) << s;
  EXPECT_TRUE(is_near(banded.logdet_gradient(), gradient_from(s, inverse), digits)) << s;
  const Tensor z = Random(2).normal(s.images(3));
  const Tensor columns = transpose(z.reshape({3, s.numbers()}));
  const Tensor x = transpose(dense.solve(columns)).reshape(z.shape());
  EXPECT_TRUE(is_near(banded.solve(z), x, digits)) << s;
  return norm1(T) * norm1(inverse);
}

// ---- Against dense factors ----------------------------------------------------------------------

TEST(ConvLU, OfTheLayersOfANetworkIsThatOfTheDenseMatrix) {
  for (const Size& s : layers) EXPECT_LT(compare_with_dense(s, kernel(s, 0.3)), 100) << s;
}

TEST(ConvLU, OfOddSizesIsThatOfTheDenseMatrix) {
  for (const Size& s : odd_sizes)
    for (double noise : {0.3, 1.0}) EXPECT_LT(compare_with_dense(s, kernel(s, noise)), 1e6) << s;
}

TEST(ConvLU, IsExactForIllConditionedKernels) {
  struct Case {
    Size size;
    double noise;
    std::uint32_t seed;
  };
  for (const auto& [s, noise, seed] : std::vector<Case>{{layers[0], 2, 7},
                                                        {layers[1], 1, 0},
                                                        {layers[2], 6, 5},
                                                        {layers[3], 2, 13},
                                                        {layers[4], 2, 56},
                                                        {{3, 9, 5, 3, 5}, 2, 34},
                                                        {{1, 12, 6, 5, 3}, 6, 0}}) {
    const double condition = compare_with_dense(s, kernel(s, noise, seed));
    EXPECT_GT(condition, 1e5) << s;
    EXPECT_LT(condition, 1e6) << s;
  }
}

// The first and the last tap of a column: every block on the diagonal of T is zero, so that rows
// must be exchanged between blocks. T is a path's adjacency matrix, whose determinant is +-1.
TEST(ConvLU, ExchangesRowsBetweenBlocks) {
  for (const Size& s : {Size{1, 8, 3, 3, 1}, Size{1, 8, 3, 5, 1}, Size{1, 12, 9, 7, 1}}) {
    Tensor w = Tensor::zeros(s.kernel());
    w.mutable_data()[0] = w.mutable_data()[s.K - 1] = 1;
    EXPECT_EQ(ConvLU(w, s.height, s.width).log_abs_det(), 0) << s;
    compare_with_dense(s, w);
  }
}

TEST(ConvLU, NeedsNoCentreTap) {
  for (const Size& s : {Size{8, 8, 7, 5, 5}, Size{1, 28, 28, 3, 3}, Size{3, 10, 6, 3, 3}}) {
    EXPECT_LT(compare_with_dense(s, kernel_beside_centre(s, 0.1, 0)), 1e3) << s;
  }
}

// ---- Values known beforehand --------------------------------------------------------------------

TEST(ConvLU, OfA1x1KernelIsThatOfItsMatrixAtEachPixel) {
  const Index C = 6, height = 5, width = 7;
  const Tensor A = orthogonal_factor(Random(1).normal({C, C})) + Real(0.5) * Tensor::identity(C);
  const LU lu(A);
  const ConvLU conv(A.reshape({C, C, 1, 1}), height, width);
  EXPECT_NEAR(conv.log_abs_det(), height * width * lu.log_abs_det(), 1e-11);
  const Tensor expected = Real(height * width) * transpose(lu.inverse());
  EXPECT_TRUE(is_near(conv.logdet_gradient(), expected.reshape({C, C, 1, 1}), digits));
}

TEST(ConvLU, OnOnePixelIsThatOfTheCentreTap) {
  const Size s{3, 1, 1, 5, 3};
  const Tensor w = kernel(s, 1), A = slice(slice(w, 2, 2, 3), 3, 1, 2).reshape({3, 3});
  const ConvLU conv(w, 1, 1);
  EXPECT_NEAR(conv.log_abs_det(), LU(A).log_abs_det(), 1e-14);
  EXPECT_EQ(largest(slice(conv.logdet_gradient(), 2, 0, 2)), 0);
}

TEST(ConvLU, OfLargeAndSmallKernelsNeitherOverflowsNorUnderflows) {
  const Size s = layers[1];
  const Tensor w = kernel(s, 0.3);
  const double unit = ConvLU(w, s.height, s.width).log_abs_det();
  for (Real scale : {Real(0x1p60), Real(0x1p-60)})
    EXPECT_NEAR(ConvLU(w * Tensor(scale), s.height, s.width).log_abs_det(),
                unit + static_cast<double>(s.numbers()) * std::log(double(scale)), 1e-8);
}

// ---- Many images, many threads ------------------------------------------------------------------

TEST(ConvLU, SolvesForEveryImageOfABatch) {
  const Size s{3, 6, 5, 3, 3};
  const ConvLU lu(kernel(s, 0.5), s.height, s.width);
  const Tensor z = Random(3).normal(s.images(120)), x = lu.solve(z);
  for (Index image : {0, 49, 50, 99, 119})
    EXPECT_TRUE(
        is_near(slice(x, 0, image, image + 1), lu.solve(slice(z, 0, image, image + 1)), digits));
  EXPECT_EQ(lu.solve(Tensor::empty(s.images(0))).shape(), s.images(0));
}

TEST(ConvLU, HasTheSameBitsOnAnyThread) {
  const Size s = layers[4];
  const Tensor z = Random(3).normal(s.images(120));
  const auto all = [&](std::uint32_t seed) {
    const ConvLU lu(kernel(s, 0.5, seed), s.height, s.width);
    std::vector<Real> bits = lu.solve(z).values();
    const Tensor gradient = lu.logdet_gradient();
    bits.insert(bits.end(), gradient.data(), gradient.data() + gradient.size());
    bits.push_back(static_cast<Real>(lu.log_abs_det()));
    return bits;
  };
  constexpr Index count = 6;
  std::vector<std::vector<Real>> alone(count), together(count);
  {
    const WithThreads one(1);
    for (Index i = 0; i < count; ++i) alone[i] = all(static_cast<std::uint32_t>(i));
  }
  const WithThreads several(4);
  EXPECT_EQ(all(0), alone[0]);
  parallel_for(count, 1, [&](Index i, Index end) {
    for (; i < end; ++i) together[i] = all(static_cast<std::uint32_t>(i));
  });
  EXPECT_EQ(together, alone);
}

// ---- Gradients ----------------------------------------------------------------------------------

TEST(ConvLogAbsDet, ValueAndGradientAreThoseOfTheFactors) {
  const Size s = layers[2];
  const Var w = Var::leaf(kernel(s, 0.3));
  const ConvLU lu(w.value(), s.height, s.width);
  const Var value = conv_logabsdet(w, s.height, s.width);
  EXPECT_EQ(value.shape(), Shape());
  EXPECT_EQ(value.item(), static_cast<Real>(lu.log_abs_det()));
  EXPECT_EQ(backward(value)[w].values(), lu.logdet_gradient().values());
  EXPECT_EQ(backward(conv_logabsdet(w, lu))[w].values(), lu.logdet_gradient().values());
}

TEST(ConvLogAbsDet, GradientAgreesWithDifferences) {
  for (const Size& s : odd_sizes) {
    const auto f = [&s](const Var& w) { return conv_logabsdet(w, s.height, s.width); };
    const auto report = gradcheck(f, kernel(s, 0.3));
    EXPECT_TRUE(report) << s << ": " << report.failure;
  }
}

TEST(ConvLogAbsDet, OneFactorizationServesValueAndGradient) {
  const Size s{2, 4, 4, 3, 3};
  const Var w = Var::leaf(kernel(s, 0.3));
  const Index before = factorizations();
  const ConvLU lu(w.value(), s.height, s.width);
  const Index one = factorizations() - before;
  EXPECT_GE(one, 1);
  EXPECT_EQ(factorizations_of([&] { backward(conv_logabsdet(w, lu)); }), 0);
  EXPECT_EQ(factorizations_of([&] { backward(conv_logabsdet(w, s.height, s.width)); }), one);
}

// ---- In Real ------------------------------------------------------------------------------------

// The outer product of (a, 1, a) with itself, for channels that an orthogonal matrix mixes: T is
// the Kronecker product of that matrix and of two tridiagonal ones, whose eigenvalues are
// 1 + 2 a cos(pi k / (side + 1)).
Tensor kernel_of_condition(double condition, Index channels, Index side) {
  const double smallest = 2 / (1 + std::sqrt(condition));
  const double a = (1 - smallest) / (2 * std::cos(std::numbers::pi / double(side + 1)));
  const double taps[3] = {a, 1, a};
  const Tensor Q = orthogonal_factor(Random(1).normal({channels, channels}));
  Tensor w = Tensor::empty({channels, channels, 3, 3});
  for (Index i = 0; i < w.size(); ++i)
    w.mutable_data()[i] = static_cast<Real>(Q[i / 9] * taps[i / 3 % 3] * taps[i % 3]);
  return w;
}

TEST(ConvLogAbsDetInReal, IsThatOfTheFactors) {
  for (const auto* sizes : {&layers, &odd_sizes})
    for (const Size& s : *sizes) {
      const Tensor w = kernel(s, 0.3);
      const ConvLU lu(w, s.height, s.width);
      const auto [value, gradient] = conv_logabsdet_in_real(w, s.height, s.width);
      EXPECT_NEAR(value, lu.log_abs_det(), 100 * Limits::epsilon() * s.numbers()) << s;
      EXPECT_TRUE(is_near(gradient, lu.logdet_gradient(), 100 * Limits::epsilon())) << s;
    }
}

TEST(ConvLogAbsDetInReal, GradientLosesTheDigitsOfTheConditionNumberAndNoMore) {
  for (double condition : {1e2, 1e4, 1e6})
    for (const auto& [channels, side] : {std::pair<Index, Index>{1, 28}, {4, 14}, {16, 7}}) {
      const Tensor w = kernel_of_condition(condition, channels, side);
      const ConvLU lu(w, side, side);
      const auto [value, gradient] = conv_logabsdet_in_real(w, side, side);
      const double allowed = 5 * Limits::epsilon() * condition;
      EXPECT_TRUE(is_near(gradient, lu.logdet_gradient(), allowed)) << condition << ' ' << side;
      EXPECT_NEAR(value, lu.log_abs_det(), allowed) << condition << ' ' << side;
    }
}

// The blocks on the diagonal of T are nearly singular, though T is not: without exchanges of rows
// between blocks, up to all digits would be lost.
TEST(ConvLogAbsDetInReal, LosesNoDigitsToSmallCentreTaps) {
  const double allowed = 10 * std::sqrt(double(Limits::epsilon()));
  for (const Size& s : {Size{1, 8, 3, 3, 1}, Size{1, 12, 9, 7, 1}, Size{3, 10, 6, 3, 3}})
    for (int halvings = 1; halvings <= Limits::digits; ++halvings) {
      const Tensor w = kernel_beside_centre(s, 0.05, std::ldexp(1.0, -halvings));
      const ConvLU lu(w, s.height, s.width);
      const auto [value, gradient] = conv_logabsdet_in_real(w, s.height, s.width);
      EXPECT_TRUE(is_near(gradient, lu.logdet_gradient(), allowed)) << s << ' ' << halvings;
      EXPECT_NEAR(value, lu.log_abs_det(), allowed * s.numbers()) << s << ' ' << halvings;
    }
}

// In float, a channel's centre tap and what it meets cancel to 0 as the matrix of the dense test.
TEST(ConvLogAbsDetInReal, APivotOf0IsTriedInDouble) {
  const Tensor w({2, 2, 1, 3}, {0, 3, 0, 0, 1, 0, 0, 1, 0, 0, Real(1) / 3, 0});
  if (in_double) {
    EXPECT_NE(error_of([&] { conv_logabsdet_in_real(w, 2, 2); }).find("singular: pivot 2 is 0"),
              std::string::npos);
    return;
  }
  const auto [value, gradient] = conv_logabsdet_in_real(w, 2, 2);
  EXPECT_EQ(value, ConvLU(w, 2, 2).log_abs_det());
  EXPECT_EQ(gradient.values(), ConvLU(w, 2, 2).logdet_gradient().values());
}

TEST(ConvLogAbsDetInReal, WhatIsNotFiniteIsTriedInDouble) {
  Tensor w = kernel(layers[1], 0.3);
  w.mutable_data()[0] = Limits::quiet_NaN();
  const auto [value, gradient] = conv_logabsdet_in_real(w, 14, 14);
  EXPECT_TRUE(std::isnan(value));
  EXPECT_FALSE(all_finite(gradient));
}

TEST(ConvLogAbsDetInReal, HasTheSameBitsOnAnyThreadAndWithAnySubnormals) {
  const Size s = layers[0];  // far from the diagonal, T^-1 is subnormal in float
  const auto bits = [&] {
    return conv_logabsdet_in_real(kernel(s, 0.3), 28, 28).gradient.values();
  };
  const std::vector<Real> alone = bits();
  std::vector<std::vector<Real>> together(6);
  const WithThreads several(4);
  parallel_for(6, 1, [&](Index i, Index end) {
    for (; i < end; ++i) together[i] = bits();
  });
  for (const auto& one : together) EXPECT_EQ(one, alone);
  const FlushSubnormals flush;
  EXPECT_EQ(bits(), alone);
}

// ---- Errors -------------------------------------------------------------------------------------

TEST(ConvLU, ASingularConvolutionIsNamedByWhateverNeedsItsInverse) {
  const Tensor shift({1, 1, 3, 1}, {0, 0, 1}), z = Random(1).normal({2, 1, 5, 2});
  const ConvLU lu(shift, 5, 2);
  const std::string found =
      "the convolution of 5x2 images with a (1, 1, 3, 1) kernel is singular: pivot 1 is 0";
  EXPECT_TRUE(lu.singular());
  EXPECT_EQ(error_of([&] { lu.log_abs_det(); }), "[conv_logabsdet] " + found);
  EXPECT_EQ(error_of([&] { lu.logdet_gradient(); }), "[conv_logabsdet] " + found);
  EXPECT_EQ(error_of([&] { conv_logabsdet(shift, 5, 2); }), "[conv_logabsdet] " + found);
  EXPECT_EQ(error_of([&] { lu.solve(z); }), "[conv_solve] " + found);
}

// The path of ExchangesRowsBetweenBlocks with an odd number of nodes: what is missing is in the
// last row of the image.
TEST(ConvLU, FindsAZeroPivotInTheLastBlock) {
  const Tensor w({1, 1, 3, 1}, {1, 0, 1});
  EXPECT_FALSE(ConvLU(w, 8, 3).singular());
  EXPECT_EQ(error_of([&] { ConvLU(w, 9, 3).log_abs_det(); }),
            "[conv_logabsdet] the convolution of 9x3 images with a (1, 1, 3, 1) kernel is "
            "singular: pivot 25 is 0");
}

TEST(ConvLU, NaNIsNeitherSingularNorANumber) {
  for (const Size& s : {Size{2, 6, 3, 3, 3}, Size{1, 2, 5, 3, 3}, Size{1, 9, 2, 5, 1}}) {
    for (Index bad = 0; bad < s.kernel().size(); ++bad) {
      Tensor w = kernel(s, 0.3);
      w.mutable_data()[bad] = Limits::quiet_NaN();
      const ConvLU lu(w, s.height, s.width);
      EXPECT_FALSE(lu.singular()) << s << ' ' << bad;
      EXPECT_TRUE(std::isnan(lu.log_abs_det())) << s << ' ' << bad;
      EXPECT_FALSE(all_finite(lu.logdet_gradient())) << s << ' ' << bad;
      EXPECT_FALSE(all_finite(lu.solve(Random(1).normal(s.images(1))))) << s << ' ' << bad;
    }
  }
}

TEST(ConvLU, AKernelThatDoesNotFitIsNamed) {
  const auto of = [](const Shape& shape, Index height = 4, Index width = 4) {
    return error_of([&] { ConvLU(Tensor::zeros(shape), height, width); });
  };
  const std::string kernel = "[conv_lu] a kernel (C, C, K, L) expected, the shape is ";
  EXPECT_EQ(of({2, 3, 3, 3}), kernel + "(2, 3, 3, 3)");
  EXPECT_EQ(of({3, 3}), kernel + "(3, 3)");
  EXPECT_EQ(of({0, 0, 3, 3}), kernel + "(0, 0, 3, 3)");
  const std::string odd = "[conv_lu] an odd kernel expected, the shape is ";
  EXPECT_EQ(of({2, 2, 2, 3}), odd + "(2, 2, 2, 3)");
  EXPECT_EQ(of({2, 2, 3, 4}), odd + "(2, 2, 3, 4)");
  EXPECT_EQ(of({2, 2, 0, 3}), odd + "(2, 2, 0, 3)");
  const std::string pixels = "[conv_lu] images with pixels expected, the size is ";
  EXPECT_EQ(of({1, 1, 3, 3}, 0, 4), pixels + "0x4");
  EXPECT_EQ(of({1, 1, 3, 3}, 4, -1), pixels + "4x-1");
}

TEST(ConvLU, ImagesThatDoNotFitAreNamed) {
  const Size s{2, 4, 3, 3, 3};
  const ConvLU lu(kernel(s, 0.3), 4, 3);
  const std::string found = "[conv_solve] images (B, 2, 4, 3) expected, the shape is ";
  EXPECT_EQ(error_of([&] { lu.solve(Tensor::zeros({5, 2, 3, 4})); }), found + "(5, 2, 3, 4)");
  EXPECT_EQ(error_of([&] { lu.solve(Tensor::zeros({2, 4, 3})); }), found + "(2, 4, 3)");
  EXPECT_EQ(error_of([&] { lu.solve(Tensor()); }), found + "()");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

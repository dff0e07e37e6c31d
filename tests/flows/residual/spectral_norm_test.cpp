#include "backflow/flows/residual/spectral_norm.h"

#include "backflow/engine/backward.h"
#include "backflow/engine/optimizer.h"
#include "backflow/flows/linear/random_orthogonal.h"
#include "backflow/flows/residual/lipschitz_net.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/flows/residual/singular_values.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double epsilon = std::numeric_limits<Real>::epsilon();
constexpr double rounding = in_double ? 1e-12 : 2e-5;

double sigma_of(const Tensor& W, const SingularVectors& of) {
  return sum(matmul(W, of.v) * of.u).item();
}

Tensor diagonal(const std::vector<Real>& values) {
  const Index n = std::ssize(values);
  return Tensor::identity(n) * Tensor({n}, values);
}

std::vector<Tensor> difficult_matrices() {
  const Random random(7);
  std::vector<Tensor> all;
  for (const Shape& shape :
       {Shape{1, 1}, Shape{1, 5}, Shape{6, 1}, Shape{3, 8}, Shape{9, 4}, Shape{40, 40}})
    all.push_back(random.stream(all.size()).normal(shape));
  all.push_back(random_orthogonal(12, random) * 10);                            // all are equal
  all.push_back(matmul(random.normal({5, 1}), random.normal({1, 7})));          // all but one are 0
  all.push_back(diagonal({1, 2, Real(2.0001), 0}));                             // almost equal
  all.push_back(diagonal({1, 1, 1, 1, 1, 1, 1, Real(1.01)}));                   // a plateau
  all.push_back(matmul(random_orthogonal(4, random), diagonal({3, 3, 1, 1})));  // a pair
  all.push_back(Tensor::full({4, 4}, 1) - 4 * Tensor::identity(4));  // not along (1, 1, ...)
  for (const Real scale : {Real(1e-30), Real(1e30), Real(1e-35)})
    all.push_back(random.normal({5, 5}) * scale);
  return all;
}

TEST(SpectralNorm, IsKnownToTheToleranceWhateverTheMatrix) {
  for (const Tensor& W : difficult_matrices())
    for (const double tolerance : {0.3, 0.05, 5e-4}) {
      const SingularVectors of = largest_singular_vectors(W, tolerance);
      const double largest = singular_values(W)[0], sigma = sigma_of(W, of);
      EXPECT_GE(sigma, (1 - tolerance - rounding) * largest) << W.shape();
      EXPECT_LE(sigma, (1 + rounding) * largest) << W.shape();
      EXPECT_NEAR(norm(of.u).item(), 1, 100 * epsilon);
      EXPECT_NEAR(norm(of.v).item(), 1, 100 * epsilon);
    }
}

TEST(SpectralNorm, VectorsAreRightToRoundingWhereThereIsAGap) {
  for (const Index n : {2, 7, 30}) {
    const Tensor W = Random(n).normal({n + 3, n});
    const auto [u, v] = largest_singular_vectors(W, 0.3);
    const Real sigma = static_cast<Real>(singular_values(W)[0]);
    const double tolerance = in_double ? 1e-11 : 1e-4;
    expect_close(matmul(W, v), sigma * u, tolerance, "W v");
    expect_close(matmul(transposed(W), u), sigma * v, tolerance, "W^T u");
  }
}

TEST(SpectralNorm, OfZeroIsZero) {
  const Var W = Tensor::zeros({3, 2});
  const SingularVectors of = largest_singular_vectors(W.value(), 0.1);
  EXPECT_EQ(sigma_of(W.value(), of), 0);
  EXPECT_EQ(normalized(W, of, 0.5).value().values(), W.value().values());
}

TEST(SpectralNorm, OfWhatIsNotFiniteFails) {
  for (const Real bad :
       {std::numeric_limits<Real>::quiet_NaN(), std::numeric_limits<Real>::infinity()})
    EXPECT_EQ(error_of([&] {
                largest_singular_vectors(Tensor({1, 2}, {1, bad}), 0.1);
              }),
              "[spectral_norm] the weights (1, 2) are not all finite");
}

// Of the whole formula, in which u and v change with W: they contribute nothing.
TEST(SpectralNorm, GradientWithFixedVectorsIsThatOfTheFormula) {
  for (const double scale : {1.0, 0.01}) {
    const auto f = [](const Var& W) {
      return normalized(W, largest_singular_vectors(W.value(), 0.01), 0.9);
    };
    const auto report = gradcheck(f, Random(4).normal({4, 6}) * static_cast<Real>(scale));
    EXPECT_TRUE(report) << report.failure;
  }
}

TEST(SpectralLinear, LeavesSmallWeightsAsTheyAre) {
  const SpectralLinear layer(3, 2, 0.9, Random(1));
  const Tensor small = Random(2).normal({2, 3}) * Real(0.1);
  layer.parameters()[0].parameter->set(small);
  EXPECT_EQ(layer.weight().value().values(), small.values());
}

TEST(SpectralLinear, RefusesWhatIsNoLayer) {
  EXPECT_EQ(error_of([] { SpectralLinear(0, 2, 0.9, Random(1)); }),
            "[spectral_norm] at least one input and one output expected, got 0 and 2");
  for (const double c : {0.0, -1.0, 1.0, 0.9999, std::nan("")})
    EXPECT_TRUE(error_of([&] {
                  SpectralLinear(3, 2, c, Random(1));
                }).starts_with("[spectral_norm] a bound c of the spectral norm above 0"));
}

// ---- Networks ---------------------------------------------------------------------------------

void expect_contraction(const LipschitzNet& net, double c, const Tensor& x) {
  for (const Var& W : net.weights())
    ASSERT_LE(singular_values(W.value())[0], 2 * c / (1 + c) * (1 + rounding));
  const Linearized at = net.at(x);
  for (Index b = 0, D = x.size(1); b < x.size(0); ++b) {
    std::vector<Tensor> columns;
    for (Index i = 0; i < D; ++i) {
      const Tensor unit = slice(Tensor::identity(D), 0, i, i + 1);
      const Tensor all = net.jvp(at, broadcast_to(unit, x.shape())).value();
      columns.push_back(slice(all, 0, b, b + 1));
    }
    ASSERT_LT(singular_values(concat(columns, 0))[0], 1);
  }
}

TEST(LipschitzNet, StretchesNothingAfterAnyStep) {
  for (const double c : {0.9, 0.97, 0.999}) {
    LipschitzNet net(3, {.hidden = {16, 5}, .c = c}, Random(1));
    expect_contraction(net, c, Random(2).normal({2, 3}));
    for (std::uint32_t step = 0; step < 30; ++step) {
      const Real size = std::pow(Real(10), static_cast<Real>(step % 5) - 1);  // 0.1 to 1000
      std::uint32_t k = 0;
      for (const auto& [name, parameter] : net.parameters()) {
        const Random random = Random(step).stream(k++);
        parameter->set(
            parameter->value() +
            size * random.normal({1, parameter->value().size()}).reshape(parameter->shape()));
      }
      expect_contraction(net, c, Random(step).normal({2, 3}));
    }
  }
}

// Training pulls singular values together at the bound: there a fixed number of power iterations
// falls short.
TEST(LipschitzNet, StretchesNothingWhenTrainedToStretch) {
  constexpr double c = 0.97;
  LipschitzNet net(4, {.hidden = {8}, .c = c}, Random(1));
  Adam optimizer(net.parameters());
  const Tensor x = Random(2).normal({32, 4});
  for (int step = 0; step < 100; ++step) {
    optimizer.step(backward(-sum(square(net.at(x).value))), 0.3);
    ASSERT_LE(net.lipschitz(), 1);
    expect_contraction(net, c, slice(x, 0, 0, 1));
  }
}

TEST(LipschitzNet, SigmaFollowsTheWeights) {
  const SpectralLinear layer(30, 30, 0.9, Random(1));
  Parameter& weight = *layer.parameters()[0].parameter;
  weight.set(Random(1).normal({30, 30}));
  const Tensor before = layer.weight().value();
  weight.update([](std::span<Real> values) { values[0] += 1; });
  EXPECT_NE(layer.weight().value().values(), before.values());
  EXPECT_LE(singular_values(layer.weight().value())[0], 0.9 * (1 + rounding));
}

TEST(LipschitzNet, ThreadsShareAConstNet) {
  const LipschitzNet net(6, {.hidden = {20, 20}}, Random(1));
  const Tensor x = Random(2).normal({5, 6});
  const Tensor expected = net.at(x).value.value();
  const LipschitzNet same(6, {.hidden = {20, 20}}, Random(1));
  const WithThreads with(3);
  std::vector<Tensor> values(8);
  parallel_for(8, 1, [&](Index i, Index end) {
    for (; i < end; ++i) values[i] = same.at(x).value.value();
  });
  for (const Tensor& value : values) EXPECT_EQ(value.values(), expected.values());
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

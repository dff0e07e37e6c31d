#include "backflow/flows/transforms/sum_of_squares.h"

#include "backflow/flows/autoregressive/sos.h"
#include "backflow/flows/density.h"
#include "backflow/tests/flows/transforms/check_transform.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

TEST(SumOfSquaresTransform, IsATransform) {
  for (const auto& [polynomials, degree] :
       std::vector<std::array<Index, 2>>{{2, 1}, {3, 2}, {2, 3}}) {
    SumOfSquares transform({.polynomials = polynomials, .degree = degree});
    check_transform("sum_of_squares " + std::to_string(degree), transform);
  }
}

// With R = 0 and one polynomial the slope is (1 + a)^2 + floor; with R = 1 it is a parabola.
TEST(SumOfSquaresTransform, IsTheFormula) {
  const SumOfSquares line({.polynomials = 1, .degree = 0, .floor = 0.5});
  const auto [z, log_slope] = line.forward(Tensor({1, 1}, {2}), Tensor({1, 1, 2}, {7, 0.25}));
  EXPECT_NEAR(z.value().item(), 7 + 2 * (1.25 * 1.25 + 0.5), 1e-5);
  EXPECT_NEAR(log_slope.value().item(), std::log(1.25 * 1.25 + 0.5), 1e-6);
  const SumOfSquares cubic({.polynomials = 2, .degree = 1, .unit = 4, .floor = 0});
  const Tensor p({1, 1, 5}, {1, 0, 2, 1, -3});
  const auto [w, log_slope_w] = cubic.forward(Tensor({1, 1}, {2}), p);
  const double first = 1 + 2.0 * 2 / 4, second = 2 - 3.0 * 2 / 4;
  EXPECT_NEAR(log_slope_w.value().item(), std::log((first * first + second * second) / 2), 1e-6);
  // int_0^2 ((1 + t / 2)^2 + (2 - 3 t / 4)^2) / 2 dt
  EXPECT_NEAR(w.value().item(), 1 + (14.0 / 3 + 3.5) / 2, 1e-5);
}

TEST(SumOfSquaresTransform, BeginsNearTheIdentityWithPolynomialsThatDiffer) {
  const SumOfSquares transform;
  const Tensor p = initial_parameters(transform, 10, Random(1)), x = Random(2).normal({1, 10});
  const auto [z, log_slope] = transform.forward(x, p.reshape({1, 10, transform.parameters()}));
  expect_close(z.value(), x, 0.3, "z");
  expect_close(log_slope.value(), Tensor::zeros({1, 10}), 0.5, "its log-slope");
  EXPECT_NE(p[1], p[5]);
  EXPECT_EQ(p[0], 0);
}

TEST(SumOfSquaresTransform, RefusesOptionsThatMakeNoPolynomial) {
  EXPECT_EQ(error_of([] { SumOfSquares({.polynomials = 0}); }),
            "[sum_of_squares] at least one polynomial expected, got 0");
  EXPECT_EQ(error_of([] { SumOfSquares({.degree = 16}); }),
            "[sum_of_squares] a degree from 0 to 15 expected, got 16");
  EXPECT_EQ(error_of([] { SumOfSquares({.unit = 0}); }),
            "[sum_of_squares] the unit must be positive and finite, got 0");
  EXPECT_EQ(error_of([] { SumOfSquares({.floor = -1}); }),
            "[sum_of_squares] the floor must be at least 0 and finite, got -1");
  EXPECT_EQ(error_of([] { sos(2, {.layers = 0}, Random(1)); }),
            "[sos] at least one layer expected, got 0");
}

TEST(SumOfSquaresTransform, IsFiniteAtExtremeParameters) {
  SumOfSquares transform({.polynomials = 2, .degree = 1});
  for (Real size : {Real(1e4), Real(-1e4), Real(1e-20)}) {
    // The second element's polynomials all vanish at x = 3 (as -a_k1 = 1 + a_k0): the floor is
    // left.
    TransformFlow flow(transform, Tensor({1, 2, 5}, {size, size, -size, size, 2, 5, size, -1 - size,
                                                     size, -1 - size}));
    check_finite(flow, Tensor({1, 2}, {-50, 3}), {});
    const auto [z, log_slope] = transform.forward(Tensor({1, 2}, {-50, 3}), flow.p);
    EXPECT_NEAR(log_slope.value()[1], std::log(1e-3), in_double ? 1e-6 : 0.1);
    check_both_ways(transform, Tensor({1, 2}, {-50, 2}), flow.p.value());
  }
}

// Whether a stack of transforms whose parameters are all 1 is finite at x and at -x.
bool is_finite_at(double x, Index degree, int layers) {
  const SumOfSquares transform({.degree = degree});
  const Tensor p = Tensor::full({1, 2, transform.parameters()}, 1);
  Var z = Tensor({1, 2}, {static_cast<Real>(x), static_cast<Real>(-x)});
  bool finite = true;
  for (int i = 0; i < layers; ++i) {
    const auto [next, log_slope] = transform.forward(z, p);
    finite = finite && all_finite(next.value()) && all_finite(log_slope.value());
    z = next;
  }
  return finite;
}

TEST(SumOfSquaresTransform, StacksAreFiniteAsFarAsItsHeaderSays) {
  struct End {
    Index degree;
    int layers;
    double in_float, in_double;
  };
  for (const End& end : {End{2, 1, 1.5e8, 1.4e62}, End{2, 2, 140, 8e12}, End{2, 3, 6, 1200},
                         End{3, 1, 1e6, 3.5e44}, End{3, 2, 22, 7e6}, End{3, 3, 2.5, 30}}) {
    const double x = in_double ? end.in_double : end.in_float;
    EXPECT_TRUE(is_finite_at(x, end.degree, end.layers)) << end.degree << " " << end.layers;
    EXPECT_FALSE(is_finite_at(2 * x, end.degree, end.layers)) << end.degree << " " << end.layers;
  }
}

// ---- The flow ---------------------------------------------------------------------------------

SosOptions small(Index context = 0) {
  return {.layers = 2, .net = {.hidden = {10, 9}, .activation = tanh, .context = context}};
}

TEST(SosFlow, HoldsWhatEveryFlowHolds) {
  for (Index D : {1, 2, 5}) {
    const std::unique_ptr<Flow> flow = sos(D, small(), Random(1));
    randomize(*flow, Random(2), 0.3);
    const Tensor x = Random(3).normal({3, D});
    check_flow("sos", *flow, x, x * (in_double ? 20 : 4));
    check_recorded_inverse(*flow, x);
    check_batches_of_one(*flow, x);
    check_threads(*flow, Random(4).normal({700, D}));
    check_takes_no_context(*flow, x);
  }
}

// By the error in z: an error in x counts as much as the flow stretches it.
TEST(SosFlow, InverseUndoesItOutToFiveStandardDeviations) {
  for (Index D : {1, 2, 64}) {
    const std::unique_ptr<Flow> flow =
        sos(D, {.net = {.hidden = {16}, .activation = tanh}}, Random(1));
    randomize(*flow, Random(2), D > 2 ? 0.05 : 0.2);
    const Tensor x = Random(3).uniform({100, D}) * 10 - Tensor(Real(5));
    const Tensor z = flow->forward(x).z.value();
    expect_close(flow->forward(flow->inverse(z)).z.value(), z, in_double ? 1e-9 : 1e-4, "z");
    const Tensor noise = Random(4).normal({100, D});
    expect_close(flow->forward(flow->inverse(noise)).z.value(), noise, in_double ? 1e-9 : 1e-4,
                 "noise");
  }
}

TEST(SosFlow, TakesAContext) {
  for (Index D : {1, 3}) {
    const std::unique_ptr<Flow> flow = sos(D, small(4), Random(1));
    randomize(*flow, Random(2), 0.3);
    const Tensor x = Random(3).normal({3, D});
    check_context_gradient(*flow, x, Random(5).normal({3, 4}));
    check_context_rules(*flow, x, 4);
  }
}

TEST(SosFlow, DrawsWhatItsDensitySays) {
  const std::unique_ptr<Flow> flow = sos(64, small(), Random(1));
  randomize(*flow, Random(2), 0.05);
  const Density density(*flow, {64});
  const Sample sample = density.sample_and_log_prob(20, Random(3));
  expect_close(density.log_prob(sample.x), sample.log_prob, in_double ? 1e-9 : 1e-4, "log_prob");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

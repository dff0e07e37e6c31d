#include "backflow/flows/autoregressive/block_naf.h"

#include "backflow/flows/autoregressive/block_layer.h"
#include "backflow/ops/matmul.h"
#include "backflow/tests/flows/check_zoo.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr BlockNafForm all_forms[] = {BlockNafForm::plain, BlockNafForm::residual,
                                      BlockNafForm::gated};

std::unique_ptr<BlockNaf> random_flow(Index D, const BlockNafOptions& options, double scale = 0.7) {
  auto flow = std::make_unique<BlockNaf>(D, options, Random(7));
  randomize(*flow, Random(8), scale);
  return flow;
}

Tensor extremes(Index D) {
  Tensor x = Random(3).normal({6, D});
  for (Index i = 0; i < x.size(); ++i) x.mutable_data()[i] *= Real(std::pow(10.0, i % 6));
  return x;
}

TEST(BlockWeight, HasTheGradientsOfItsDifferences) {
  for (const auto& [D, out, in] :
       {std::array<Index, 3>{3, 2, 4}, {1, 3, 2}, {4, 1, 1}, {2, 5, 1}}) {
    const auto report = gradcheck(
        [D = D](const std::vector<Var>& given) {
          const auto [weight, log_diagonal] = block_weight(given[0], given[1], D);
          return std::vector{weight, log_diagonal};
        },
        {Random(1).normal({D * out, D * in}), Random(2).normal({D * out, 1})});
    EXPECT_TRUE(report) << report.failure;
  }
}

TEST(BlockWeight, IsFiniteForLargeWeights) {
  for (double size : {500.0, 5000.0}) {  // e^500 is infinite in float, its square in double
    const Var W = Var::leaf(Tensor({2, 4}, {3, 1, 9, 9, 2, -1, 0, 1}) * size);
    const Var s = Var::leaf(Tensor({2, 1}, {1, -1}));
    const auto [V, L] = block_weight(W, s, 2);
    const double e = std::exp(1);
    expect_close(V.value(), Tensor({2, 4}, {Real(e), 0, 0, 0, 0, 0, 0, Real(1 / e)}), 1e-6, "V");
    EXPECT_NEAR(L.value()[1], 1 - 2 * size, 1e-3);  // right where V itself is 0
    const Gradients all = backward(sum(V) + sum(L));
    EXPECT_TRUE(all_finite(all[W]) && all_finite(all[s]));
  }
}

TEST(BlockNaf, ObeysTheChangeOfVariables) {
  for (BlockNafForm form : all_forms) {
    for (Index D : {1, 2, 3})
      check_flow("block_naf", *random_flow(D, {.hidden = {3, 4}, .form = form}),
                 Random(1).normal({4, D}), extremes(D));
    check_flow("block_naf", *random_flow(2, {.hidden = {3}, .form = form}),
               Random(1).normal({4, 2}), extremes(2));
  }
}

TEST(BlockNaf, Of16CoordinatesInvertsToRounding) {
  for (BlockNafForm form : all_forms) {
    const BlockNaf flow(16, {.hidden = {8, 8}, .form = form}, Random(2));
    check_round_trip(flow, Random(1).normal({5, 16}), {});
    check_logdet(flow, Random(1).normal({2, 16}), {});
  }
}

TEST(BlockNaf, OutputsDependOnNoLaterInput) {
  const auto flow = random_flow(4, {.hidden = {3, 5}});
  const Tensor J = jacobian(
      [&](const Var& x) {
        return reshape(flow->forward(reshape(x, {1, 4})).z, {4});
      },
      Random(1).normal({4}));
  for (Index row = 0; row < 4; ++row)
    for (Index column = 0; column < 4; ++column) {
      const Real slope = J.at({row, column});
      EXPECT_TRUE(column > row ? slope == 0 : column < row ? slope != 0 : slope > 0);
    }
}

// z = tanh(x)
std::unique_ptr<BlockNaf> tanh_flow() {
  auto flow = std::make_unique<BlockNaf>(1, BlockNafOptions{.hidden = {1}}, Random(1));
  for (const auto& [name, parameter] : flow->parameters())
    parameter->set(Tensor::zeros(parameter->shape()));
  return flow;
}

TEST(BlockNaf, InvertsUpToTheWallsOfTheBoxAndNotOnThem) {
  const auto flow = tanh_flow();
  const auto x_of = [&](Real z) { return flow->inverse(Tensor({1, 1}, {z})).item(); };
  const Real last = std::nextafter(Real(1), Real(0));
  for (Real z : {Real(0), Real(0.5), Real(-0.99), last})
    EXPECT_NEAR(x_of(z), std::atanh(z), z == last ? 1 : 1e-5);
  for (Real z : {Real(1), Real(-1)})
    EXPECT_NE(error_of([&] { x_of(z); }).find("between -1 and 1"), std::string::npos);
}

// Tanh is 1 to all digits of its outputs, but its slope is known.
TEST(BlockNaf, LogdetIsFiniteWhereTanhIsSaturated) {
  const auto flow = tanh_flow();
  for (double x : {0.0, 3.0, 40.0, -500.0, 1e4}) {
    const Var leaf = Var::leaf(Tensor({1, 1}, {Real(x)}));
    const Out out = flow->forward(leaf);
    EXPECT_NEAR(out.z.item(), std::tanh(x), 1e-6);
    const double expected =
        -2 * std::abs(x) + 2 * std::log(2.0) - 2 * std::log1p(std::exp(-2 * std::abs(x)));
    EXPECT_NEAR(out.logdet.item(), expected,
                (in_double ? 1e-12 : 1e-6) * std::max(1.0, std::abs(x)));
    EXPECT_NEAR(backward(sum(out.logdet))[leaf].item(), -2 * std::tanh(x), 1e-6);
  }
}

TEST(BlockNaf, IsFiniteAtExtremeParameters) {
  for (BlockNafForm form : all_forms)
    for (double spread : {10.0, 30.0})
      check_finite(*random_flow(3, {.hidden = {4, 4}, .form = form}, spread), extremes(3), {});
}

TEST(BlockNaf, ResidualsAreOnto) {
  for (BlockNafForm form : {BlockNafForm::residual, BlockNafForm::gated}) {
    const auto flow = random_flow(2, {.hidden = {5, 5}, .form = form});
    const Tensor z({4, 2}, {0, 0, 50, -50, -3000, 10, Real(0.5), 1e5});
    const Tensor again = flow->forward(flow->inverse(z)).z.value();
    expect_close(again, z, in_double ? 1e-12 : 1e-5, "forward(inverse(z))");
  }
}

TEST(BlockNaf, WithoutAResidualAZOutsideOfTheBoxHasNoX) {
  const auto flow = random_flow(2, {.hidden = {4}});
  constexpr Real far = std::numeric_limits<Real>::max();
  const Tensor corner = flow->forward(Tensor({2, 2}, {far, 0, -far, 0})).z.value();
  const Tensor inside = flow->forward(Tensor::zeros({1, 2})).z.value();
  const auto error = [&](double z0, double z1) {
    return error_of([&] {
      flow->inverse(Tensor({2, 2}, {inside[0], inside[1], Real(z0), Real(z1)}));
    });
  };
  std::ostringstream expected;
  expected << "[block_naf] example 1 has no x: its z[0] is " << 100 << ", and without a residual "
           << "they are between " << corner.at({1, 0}) << " and " << corner.at({0, 0}) << " there";
  EXPECT_EQ(error(100, 0), expected.str());
  EXPECT_NE(error(inside[0], -100).find("its z[1] is -100"), std::string::npos);
  EXPECT_NE(error(std::nan(""), 0).find("example 1 has no x"), std::string::npos);
  EXPECT_NE(error(corner.at({0, 0}), inside[1]), "no error");  // the bound itself
}

TEST(BlockNaf, RecordedInverseHasTheGradientsOfForwardTurnedAround) {
  for (BlockNafForm form : all_forms)
    for (Index D : {1, 3}) {
      const auto flow = random_flow(D, {.hidden = {3, 4}, .form = form, .context = 2}, 0.4);
      Pass pass;
      pass.context = Random(4).normal({3, 2});
      check_recorded_inverse(*flow, Random(1).normal({3, D}) * 0.2, pass);  // well inside the box
    }
}

TEST(BlockNaf, AContextReachesEveryCoordinate) {
  for (Index D : {1, 3}) {
    const auto flow = random_flow(D, {.hidden = {4, 3}, .context = 2});
    Pass pass;
    pass.context = Random(4).normal({6, 2});
    check_flow("block_naf", *flow, Random(1).normal({6, D}), extremes(D), pass);
    check_context_gradient(*flow, Random(1).normal({6, D}), pass.context.value());
    const auto onto = random_flow(D, {.form = BlockNafForm::residual, .context = 2});
    check_context_rules(*onto, Random(1).normal({6, D}), 2);
  }
  check_takes_no_context(*random_flow(2, {.hidden = {3}}), Tensor::zeros({3, 2}));
}

TEST(BlockNaf, ABatchAgreesWithBatchesOfOne) {
  for (BlockNafForm form : all_forms)
    check_batches_of_one(*random_flow(3, {.hidden = {20, 20}, .form = form}),
                         Random(1).normal({40, 3}));
}

TEST(BlockNaf, TakesAnEmptyBatch) {
  const auto flow = random_flow(2, {.hidden = {3, 4}});
  const Out out = flow->forward(Tensor::zeros({0, 2}));
  EXPECT_EQ(out.z.shape(), (Shape{0, 2}));
  EXPECT_EQ(out.logdet.shape(), Shape{0});
  EXPECT_EQ(flow->inverse(Tensor::zeros({0, 2})).shape(), (Shape{0, 2}));
}

TEST(BlockNaf, HasTheSameBitsOnAnyThreads) {
  for (BlockNafForm form : all_forms)
    check_threads(*random_flow(3, {.hidden = {30, 30}, .form = form}), Random(1).normal({200, 3}));
}

TEST(BlockNaf, SeveralWithNormalizationBetweenInvert) {
  const auto flow =
      block_naf(3, {.hidden = {6}, .form = BlockNafForm::gated, .layers = 3}, Random(1));
  Pass first;
  first.mode = Mode::train;
  flow->forward(Random(2).normal({50, 3}), first);
  randomize(*flow, Random(8), 0.5);
  check_flow("block_naf of 3", *flow, Random(1).normal({4, 3}), extremes(3));
}

TEST(BlockNaf, RefusesWhatItCannotBe) {
  EXPECT_NE(error_of([] { BlockNaf(0, {}, Random(1)); }), "no error");
  EXPECT_NE(error_of([] { BlockNaf(2, {.hidden = {}}, Random(1)); }), "no error");
  EXPECT_NE(error_of([] { BlockNaf(2, {.hidden = {3, 0}}, Random(1)); }), "no error");
  EXPECT_NE(error_of([] { BlockNaf(2, {.context = -1}, Random(1)); }), "no error");
  EXPECT_NE(error_of([] { block_naf(2, {.layers = 0}, Random(1)); }), "no error");
  const BlockNaf flow(2, {.hidden = {3}}, Random(1));
  EXPECT_EQ(error_of([&] {
              flow.forward(Tensor::zeros({4, 3}));
            }),
            "[block_naf] a batch (B, 2) expected, the shape is (4, 3)");
  EXPECT_NE(error_of([&] { flow.inverse(Tensor::zeros({2})); }), "no error");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

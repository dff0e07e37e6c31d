#include "backflow/flows/residual/residual.h"

#include "backflow/engine/optimizer.h"
#include "backflow/flows/density.h"
#include "backflow/tests/flows/check_flow.h"
#include "backflow/tests/flows/residual/random_block.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Kind = Contraction::Kind;
constexpr double tolerance = in_double ? 1e-12 : 1e-5;

const Tensor extreme_numbers({10}, {0, -0.0, 1e-37, -1e-20, 40, -90, 750, -1e4, 1e9, -1e25});

Tensor extremes(Index D) {
  Tensor x = Tensor::empty({10, D});
  for (Index i = 0; i < x.size(); ++i) x.mutable_data()[i] = extreme_numbers[(i * 7) % 10];
  return x;
}

TEST(Residual, IsAFlow) {
  for (const Kind kind : {Kind::lipswish, Kind::elu, Kind::tanh, Kind::sin})
    for (const bool first : {true, false})
      for (const Index D : {1, 2, 5}) {
        const LipschitzOptions net{.hidden = {8, 6}, .activation = kind, .activation_first = first};
        const auto block = random_block(D, {.net = net}, 3);
        SCOPED_TRACE("activation " + std::to_string(static_cast<int>(kind)));
        check_flow(first ? "activation first" : "layer first", *block, Random(8).normal({4, D}),
                   extremes(D));
      }
}

TEST(Residual, IsAFlowForNetsOfOtherSizes) {
  for (const auto& hidden : {std::vector<Index>{}, std::vector<Index>{1}, std::vector<Index>{9}})
    for (const double size : {0.1, 1.0}) {
      const LipschitzOptions net{.hidden = hidden, .c = 0.9};
      check_flow(std::to_string(hidden.size()) + " hidden layers",
                 *random_block(3, {.net = net}, 5, size), Random(8).normal({3, 3}), extremes(3));
    }
  const LipschitzOptions affine{.hidden = {}, .activation_first = false};  // the same J everywhere
  check_flow("affine", *random_block(3, {.net = affine}), Random(8).normal({3, 3}), extremes(3));
}

TEST(Residual, IsAFlowInTheMostDimensions) {
  const Index D = Residual::most_exact;
  const auto block = random_block(D, {.net = {.hidden = {32}}});
  const Tensor x = Random(8).normal({2, D});
  check_round_trip(*block, x, {});
  check_logdet(*block, x, {});
  check_finite(*block, extremes(D), {});
}

TEST(Residual, OfNoExamplesIsEmpty) {
  const auto block = random_block(3, {});
  const Out out = block->forward(Tensor::empty({0, 3}));
  EXPECT_EQ(out.z.shape(), Shape({0, 3}));
  EXPECT_EQ(out.logdet.shape(), Shape{0});
  EXPECT_EQ(block->inverse(Tensor::empty({0, 3})).shape(), Shape({0, 3}));
  Pass pass = training();
  EXPECT_EQ(block->forward(Tensor::empty({0, 3}), pass).logdet.shape(), Shape{0});
}

TEST(Residual, BatchesAreBatchesOfOne) {
  const auto block = random_block(3, {.net = {.hidden = {16, 16}}});
  const Tensor x = Random(8).normal({7, 3});
  Pass whole = training();
  for (std::uint32_t b = 0; b < 7; ++b) whole.examples.push_back(100 + 3 * b);
  const Out exact = block->forward(x);
  const Tensor inverse = block->inverse(x);
  const Out estimated = block->forward(x, whole);
  for (Index b = 0; b < 7; ++b) {
    const Tensor one = slice(x, 0, b, b + 1);
    Pass pass = training();
    pass.examples = {whole.examples[b]};
    expect_close(block->forward(one).z.value(), slice(exact.z.value(), 0, b, b + 1), tolerance,
                 "z");
    expect_close(block->forward(one).logdet.value(), slice(exact.logdet.value(), 0, b, b + 1),
                 tolerance, "logdet");
    expect_close(block->forward(one, pass).logdet.value(),
                 slice(estimated.logdet.value(), 0, b, b + 1), tolerance, "estimated logdet");
    expect_close(block->inverse(one), slice(inverse, 0, b, b + 1), 100 * tolerance, "inverse");
  }
}

TEST(Residual, HasTheSameBitsOnAnyThreads) {
  for (const auto estimator : {LogdetEstimator::exact, LogdetEstimator::truncated,
                               LogdetEstimator::roulette, LogdetEstimator::neumann})
    expect_same_bits_on_any_threads([&] {
      const auto block = random_block(3, {.net = {.hidden = {40, 40}}, .estimator = estimator});
      const Var x = Var::leaf(Random(8).normal({300, 3}));
      Pass pass = training();
      const Out out = block->forward(x, pass);
      const Gradients gradients = backward(sum(square(out.z)) + sum(out.logdet));
      std::vector<Tensor> all{out.z.value(), out.logdet.value(), gradients[x],
                              block->inverse(x.value())};
      for (const auto& [name, parameter] : block->parameters())
        all.push_back(gradients[*parameter]);
      return all;
    });
}

// ---- The inverse ------------------------------------------------------------------------------

TEST(Residual, InverseReachesFarOut) {
  for (const double c : {0.9, 0.99}) {
    const auto block = random_block(4, {.net = {.hidden = {16, 16}, .c = c}}, 2, 3);
    for (const Real size : {1, 50, 1000}) {
      const Tensor z = Random(8).normal({50, 4}) * size;
      expect_close(block->forward(block->inverse(z)).z.value(), z, in_double ? 1e-9 : 1e-4, "z");
    }
  }
}

// g(x) = -c^2 x for x > 0: the inverse stretches as much as it ever may, the iteration is slowest.
TEST(Residual, InverseStandsTheGreatestStretch) {
  for (const double c : {0.9, 0.97, 0.999}) {
    const LipschitzOptions net{
        .hidden = {2}, .activation = Kind::elu, .activation_first = false, .c = c};
    Residual block(2, {.net = net}, Random(1));
    for (const auto& [name, parameter] : block.parameters())
      parameter->set(name == "net.l0.weight"   ? Tensor::identity(2) * 7
                     : name == "net.l1.weight" ? Tensor::identity(2) * -3
                                               : Tensor::zeros({2}));
    const Tensor x({3, 2}, {1, 2, 300, Real(0.1), 40, 5});
    const Out out = block.forward(x);
    for (Index b = 0; b < 3; ++b)
      EXPECT_NEAR(out.logdet.value()[b], 2 * std::log(1 - c * c), in_double ? 1e-9 : 2e-3);
    const Tensor z = out.z.value(), found = block.inverse(z);
    const Tensor error = block.forward(found).z.value() - z;  // x and g(x) cancel: of the size of x
    EXPECT_LE(max(norm(error, {1}) / norm(x, {1})).item(), in_double ? 1e-13 : 1e-5);
    expect_close(found, x, (in_double ? 1e-12 : 1e-5) / (1 - c * c), "x");
  }
}

TEST(Residual, InverseOfWhatIsNotFiniteFails) {
  const auto block = random_block(2, {});
  for (const Real bad :
       {std::numeric_limits<Real>::infinity(), std::numeric_limits<Real>::quiet_NaN()}) {
    const std::string error = error_of([&] { block->inverse(Tensor({2, 2}, {1, 2, bad, 3})); });
    EXPECT_TRUE(
        error.starts_with("[residual] the inverse did not converge in 1 steps: the last "
                          "one has the length "))
        << error;
  }
}

TEST(FixedPoint, IsFoundToRoundingHoweverSlowly) {
  for (const Real factor : {Real(-0.99), Real(0.5), Real(0.99)}) {
    const Tensor z({3, 1}, {1, -20, 0});
    const auto g = [&](const Tensor& x) { return factor * x; };
    expect_close(fixed_point("test", z, g, 10000), z / (1 + factor), in_double ? 1e-12 : 2e-4, "x");
  }
}

TEST(FixedPoint, FailsWithTheStepsItTook) {
  const Tensor z({2, 1}, {1, 2});
  const auto slow = [](const Tensor& x) { return Real(0.999) * x; };
  const std::string error = error_of([&] { fixed_point("test", z, slow, 50); });
  EXPECT_TRUE(
      error.starts_with("[test] the inverse did not converge in 50 steps: the last one has "
                        "the length 1.9"))
      << error;
  const auto swings = [](const Tensor& x) { return x; };  // Lipschitz constant 1: z, 0, z, 0, ...
  EXPECT_EQ(error_of([&] { fixed_point("test", z, swings, 30); }),
            "[test] the inverse did not converge in 30 steps: the last one has the length 2");
}

TEST(Residual, RecordedInverseHasTheGradientsOfTheInverse) {
  for (const Index D : {1, 3}) {
    const auto block = random_block(D, {.net = {.hidden = {7}, .activation = Kind::tanh}});
    const Tensor z = Random(8).normal({3, D});
    Pass pass;
    const Out out = block->inverse_recorded(z, pass);
    expect_close(out.z.value(), block->inverse(z), in_double ? 1e-12 : 1e-5, "x");
    expect_close(out.logdet.value(), -block->forward(out.z).logdet.value(), tolerance, "logdet");
    const auto both = [&](const Out& of) { return std::vector{of.z, of.logdet}; };
    const VarFunction of_z = [&](const std::vector<Var>& in) {
      Pass walk;
      return both(block->inverse_recorded(in[0], walk));
    };
    const auto report = gradcheck(of_z, {z});
    EXPECT_TRUE(report) << report.failure;
    for (const auto& [name, parameter] : block->parameters()) {
      Parameter& p = *parameter;
      const VarFunction of_p = [&](const std::vector<Var>& in) {
        const Tensor before = p.value();
        p.set(in[0].value());
        Pass walk;
        const Out at = block->inverse_recorded(z, walk);
        p.set(before);
        const auto [x, logdet] =
            override_gradient("inverse", {at.z.value(), at.logdet.value()}, {in[0]},
                              [at, &p](const Tensor& gx, const Tensor& gl) {
                                return grads(backward(sum(at.z * gx) + sum(at.logdet * gl))[p]);
                              });
        return std::vector{x, logdet};
      };
      const auto of_parameter = gradcheck(of_p, {p.value()});
      EXPECT_TRUE(of_parameter) << name << ": " << of_parameter.failure;
    }
  }
}

// ---- With a context ---------------------------------------------------------------------------

TEST(Residual, ContextReachesEveryOutput) {
  for (const Index D : {1, 3})
    for (const auto& hidden : {std::vector<Index>{}, std::vector<Index>{6}}) {
      const LipschitzOptions net{.hidden = hidden, .context = 2};
      const auto block = random_block(D, {.net = net}, 4);
      Pass pass;
      pass.context = Var::leaf(Random(3).normal({3, 2}));
      const Tensor x = Random(8).normal({3, D});
      check_flow("with a context", *block, x, slice(extremes(D), 0, 0, 3), pass);
      const Var z = block->forward(x, pass).z;
      for (Index i = 0; i < D; ++i) {
        const Tensor g = backward(sum(slice(z, 1, i, i + 1)), {}, Graph::keep)[pass.context];
        for (const Real value : g.values()) EXPECT_NE(value, 0);
      }
      const VarFunction of_context = [&](const std::vector<Var>& in) {
        Pass walk;
        walk.context = in[0];
        const Out out = block->forward(x, walk);
        return std::vector{out.z, out.logdet};
      };
      // An affine net has a log-determinant without it.
      const auto report = gradcheck(of_context, {pass.context.value()});
      EXPECT_TRUE(report) << report.failure;
    }
}

TEST(Residual, ContextOfAnotherWidthFails) {
  const auto with = random_block(2, {.net = {.context = 2}}), without = random_block(2, {});
  const Tensor x = Tensor::zeros({3, 2});
  EXPECT_EQ(error_of([&] { with->forward(x); }),
            "[residual] a context (3, 2) is needed, pass.context is empty");
  EXPECT_EQ(error_of([&] { with->inverse(x); }),
            "[residual] a context (3, 2) is needed, pass.context is empty");
  Pass pass;
  pass.context = Tensor::zeros({3, 1});
  EXPECT_EQ(error_of([&] { with->forward(x, pass); }),
            "[residual] a context (3, 2) expected, pass.context is (3, 1)");
  EXPECT_EQ(error_of([&] { without->forward(x, pass); }),
            "[residual] it was built without a context, but pass.context of (3, 1) is given");
}

// ---- What is refused --------------------------------------------------------------------------

TEST(Residual, RefusesOtherBatches) {
  const auto block = random_block(2, {});
  for (const Shape& shape : {Shape{}, Shape{2}, Shape{3, 1}, Shape{3, 2, 1}}) {
    EXPECT_TRUE(error_of([&] {
                  block->forward(Tensor::zeros(shape));
                }).starts_with("[residual] a batch (B, 2) expected, the shape is ("));
    EXPECT_TRUE(error_of([&] {
                  block->inverse(Tensor::zeros(shape));
                }).starts_with("[residual] a batch (B, 2) expected, the shape is ("));
  }
}

TEST(Residual, RefusesOptionsThatMakeNoSense) {
  const auto error = [](Index D, const ResidualOptions& options) {
    return error_of([&] { Residual(D, options, Random(1)); });
  };
  EXPECT_EQ(error(65, {.estimator = LogdetEstimator::exact}),
            "[residual] LogdetEstimator::exact is for up to 64 dimensions, not 65");
  EXPECT_EQ(error(2, {.estimator = LogdetEstimator::truncated, .series = {.terms = 0}}),
            "[residual] a series of at least one term expected, got 0");
  EXPECT_EQ(error(2, {.series = {.terms = -1}}),
            "[residual] a series of at least one term expected, got -1");
  for (const double stop : {0.0, -0.5, 1.5, std::nan("")})
    EXPECT_TRUE(
        error(2, {.series = {.stop = stop}}).starts_with("[residual] a probability to stop"));
  EXPECT_EQ(error(2, {.series = {.stop = 1}}),
            "[residual] the probability to stop is 1, which is LogdetEstimator::truncated");
  EXPECT_EQ(error(2, {.net = {.context = -1}}),
            "[lipschitz_net] a width of the context of 0 or more expected, got -1");
  EXPECT_EQ(error(0, {}),
            "[spectral_norm] at least one input and one output expected, got 0 and 64");
  EXPECT_EQ(error_of([] { residual_flow(2, {.blocks = 0}, Random(1)); }),
            "[residual] at least one layer expected, got 0");
}

// ---- Stacks -----------------------------------------------------------------------------------

TEST(ResidualFlow, StacksAreFlows) {
  const auto check = [](const char* name, Flow& flow) {
    randomize(flow, 6, 0.5);
    check_flow(name, flow, Random(8).normal({4, 2}), Random(9).normal({4, 2}) * 1e4);
  };
  check("Residual Flow", *residual_flow(2, {.blocks = 3, .hidden = {8}}, Random(1)));
  check("i-ResNet", *i_resnet(2, {.blocks = 3, .hidden = {8}}, Random(1)));
}

TEST(ResidualFlow, SaysWhetherTrainingIsExact) {
  EXPECT_FALSE(residual_flow(2, {}, Random(1))->exact_in_training());
  EXPECT_FALSE(i_resnet(2, {}, Random(1))->exact_in_training());
  const ResidualFlowOptions exact{.estimator = LogdetEstimator::exact};
  EXPECT_TRUE(residual_flow(2, exact, Random(1))->exact_in_training());
}

// A ring, on which a Gaussian has 0.9 nats less.
Tensor ring(std::uint64_t seed, Index n) {
  Tensor x = Random(seed).normal({n, 2});
  const Tensor r = norm(x, {1}, true), noise = Random(seed + 1).normal({n, 1});
  return x / r * (2 + Real(0.2) * noise);
}

TEST(ResidualFlow, LearnsByEveryEstimator) {
  for (const auto estimator :
       {LogdetEstimator::exact, LogdetEstimator::roulette, LogdetEstimator::neumann}) {
    const auto flow = residual_flow(
        2, {.blocks = 3, .hidden = {16}, .c = 0.98, .estimator = estimator}, Random(1));
    const Density density(*flow, {2});
    Adam optimizer(density.parameters());
    const auto nll = [&] { return -mean(density.log_prob(ring(99, 500))).item(); };
    double before = 0;
    for (std::uint32_t step = 0; step < 100; ++step) {
      Pass pass;
      pass.mode = Mode::train;
      pass.noise = Random(7).at_epoch(step);
      const Var loss = -mean(density.objective(ring(2 * step, 64), pass));
      optimizer.step(backward(loss), 1e-2);
      if (step == 0) before = nll();
    }
    EXPECT_LT(nll(), before - 0.3) << "estimator " << static_cast<int>(estimator);
    const Tensor z = Random(3).normal({20, 2}), x = flow->inverse(z);
    expect_close(flow->forward(x).z.value(), z, in_double ? 1e-9 : 1e-4, "z");
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

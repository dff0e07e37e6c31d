// The linear layers: the same z and the same exact log-determinant, three gradients in training.
#include "backflow/flows/linear/linear.h"

#include "backflow/engine/optimizer.h"
#include "backflow/flows/density.h"
#include "backflow/flows/elementwise/activations.h"
#include "backflow/flows/linear/conv1x1.h"
#include "backflow/flows/linear/self_normalizing.h"
#include "backflow/flows/sequential.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/factorizations.h"
#include "backflow/tests/flows/check_flow.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double tolerance = in_double ? 1e-10 : 1e-4;
constexpr Index D = 6;

Tensor normal(const Shape& shape, std::uint64_t seed) { return Random(seed).normal(shape); }
Tensor near_identity(Index n, std::uint64_t seed) {
  return Tensor::identity(n) + normal({n, n}, seed) * 0.25;
}

std::unique_ptr<Flow> exact(Index n = D) {
  return std::make_unique<Exact>(near_identity(n, 1), normal({n}, 2));
}
std::unique_ptr<Flow> relative_gradient(Index n = D) {
  return std::make_unique<RelativeGradient>(near_identity(n, 1), normal({n}, 2));
}
std::unique_ptr<Flow> self_normalizing(Index n = D, ReconstructionOptions options = {}) {
  return std::make_unique<SelfNormalizing>(near_identity(n, 1), near_identity(n, 3), normal({n}, 2),
                                           options);
}
std::unique_ptr<Flow> self_normalizing_with_true_inverse(Index n = D) {
  const Tensor W = near_identity(n, 1);
  return std::make_unique<SelfNormalizing>(W, LU(W).inverse(), normal({n}, 2));
}

std::unique_ptr<Sequential> deep() {
  std::vector<std::unique_ptr<Flow>> layers;
  layers.push_back(self_normalizing());
  layers.push_back(std::make_unique<SmoothLeakyReLU>());
  layers.push_back(exact());
  layers.push_back(std::make_unique<LearnableLeakyReLU>());
  layers.push_back(relative_gradient());
  layers.push_back(std::make_unique<SmoothTanh>());
  return std::make_unique<Sequential>(std::move(layers));
}

// The gradients of sum(z * gz) + sum(logdet * gl) - sum over losses of weight * loss.
struct Seeds {
  Tensor gz = normal({7, D}, 4), gl = normal({7}, 5);
};
struct Trained {
  Out out;
  std::vector<AuxiliaryLoss> losses;
  Tensor x;
  std::vector<Tensor> parameters;  // in the order of Module::parameters()
};
const Shape batch{7, 1, 2, 3};

Trained train(const Flow& flow, Mode mode = Mode::train) {
  const Seeds seeds;
  const Var x = Var::leaf(normal(batch, 6));
  Pass pass;
  pass.mode = mode;
  const Out out = flow.forward(x, pass);
  Var root = sum(out.z * seeds.gz) + sum(out.logdet * seeds.gl);
  for (const auto& [value, weight, adapt] : pass.losses) root = root - value * weight;
  const Gradients gradients = backward(root);
  Trained trained{out, pass.losses, gradients[x], {}};
  for (const auto& [name, parameter] : flow.parameters())
    trained.parameters.push_back(gradients[*parameter]);
  return trained;
}

TEST(LinearFlows, AreFlows) {
  Pass by_factorization;
  by_factorization.inverse = Inverse::exact;
  for (Index n : {1, 2, 5}) {
    Tensor extremes = Tensor::zeros({4, n});
    for (Index i = 0; i < n; ++i) {
      extremes.mutable_data()[i] = i % 2 ? 1e30 : -1e30;
      extremes.mutable_data()[n + i] = i % 2 ? 1e-30 : 1e4;
    }
    for (const Shape& shape : {Shape{4, n}, Shape{3, 1, n, 1}, Shape{1, n}}) {
      const Tensor x = normal(shape, 7);
      check_flow("exact", *exact(n), x, extremes);
      check_flow("relative gradient", *relative_gradient(n), x, extremes);
      check_flow("self-normalizing", *self_normalizing(n), x, extremes, by_factorization);
      check_flow("R = W^-1", *self_normalizing_with_true_inverse(n), x, extremes);
    }
  }
}

TEST(Sequential, IsAFlow) {
  Pass pass;
  pass.inverse = Inverse::exact;
  for (const Shape& shape : {Shape{3, D}, Shape{2, 1, 2, 3}})
    check_flow("six layers", *deep(), normal(shape, 8), normal({3, D}, 8) * 1e6, pass);
  const Tensor x = normal({3, 2}, 9);
  check_flow("no layers", Sequential({}), x, x);
}

TEST(Sequential, NamesItsParametersAsAStateDictDoes) {
  EXPECT_EQ(names_of(*deep()), (std::vector<std::string>{
                                   "0.weight_fwd", "0.bias_fwd", "0.weight_inv", "2.weight_fwd",
                                   "2.bias_fwd", "3.alpha_logit", "4.weight_fwd", "4.bias_fwd"}));
}

TEST(LinearFlows, OfNoExamplesAreEmpty) {
  const auto flow = deep();
  const Out out = flow->forward(Tensor::empty({0, 2, 3}));
  EXPECT_EQ(out.z.shape(), Shape({0, D}));
  EXPECT_EQ(out.logdet.shape(), Shape{0});
  EXPECT_EQ(flow->inverse(out.z.value()).shape(), Shape({0, D}));
}

// ---- What stands in for the exact gradient ----------------------------------------------------

TEST(SelfNormalizing, WithTheTrueInverseItsGradientsAreHalfTheExactOnes) {
  const auto flow = self_normalizing_with_true_inverse();
  const Trained trained = train(*flow), reference = train(*exact());
  expect_close(trained.parameters[0], reference.parameters[0] * 0.5, tolerance, "W");
  expect_close(trained.parameters[1], reference.parameters[1], tolerance, "b");
  expect_close(trained.x, reference.x, tolerance, "x");

  // The other model: z = R^-1 x, whose log-determinant is -log|det R|.
  const Var R = Var::leaf(flow->parameters()[2].parameter->value());
  const Tensor x = normal(batch, 6).reshape({7, D});
  const Var z = matmul(Var(x), transposed(inverse(R)));
  const Seeds seeds;
  const Var model = sum(z * seeds.gz) - logabsdet(R) * sum(seeds.gl);
  expect_close(trained.parameters[2], backward(model)[R] * 0.5, tolerance, "R");
}

// The layer again, from ordinary ops: every gradient that does not flow is a detach().
struct Surrogate {
  Var x = Var::leaf(normal(batch, 6)), W, R, b;
  Var loss;
  Gradients gradients;

  Surrogate(const std::vector<NamedParameter>& parameters, const ReconstructionOptions& options)
      : W(Var::leaf(parameters[0].parameter->value())),
        R(Var::leaf(parameters[2].parameter->value())),
        b(Var::leaf(parameters[1].parameter->value())) {
    const Var flat = reshape(x, {7, D}), h = flat.detach();
    const Var z = matmul(h, transposed(W.detach())), gz = Seeds().gz, gl = sum(Seeds().gl);
    const Var gx = matmul(gz, W.detach());
    const Var data = sum((matmul(flat, transposed(W.detach())) + b) * gz);
    const Var f = sum(matmul(h, transposed(W)) * gz) + gl * sum(W * transpose(R.detach()));
    const Var g = -sum(gx * matmul(z, transposed(R))) - gl * sum(R * transpose(W.detach()));

    const Var V = options.only_R ? W.detach() : W;
    const Var Vh = matmul(h, transposed(V)), RVh = matmul(Vh, transposed(R));
    loss = sum(square(RVh - h)) / 7;
    if (options.symmetric) {
      const Var way_back = matmul(RVh, transposed(V)) - Vh.detach();
      loss = 0.5 * (loss + sum(square(way_back)) / 7);
    }
    gradients = backward(data + 0.5 * (f + g) - options.weight * loss);
  }
};

TEST(SelfNormalizing, TrainingGradientsAreThoseOfThePaper) {
  for (bool symmetric : {false, true})
    for (bool only_R : {false, true})
      for (double weight : {0.0, 1.0, 2.5}) {
        const auto flow = self_normalizing(D, {weight, symmetric, only_R});
        const Trained trained = train(*flow);
        const Surrogate expected(flow->parameters(), {weight, symmetric, only_R});
        SCOPED_TRACE(std::string(symmetric ? "symmetric " : "") + (only_R ? "only_R " : "") +
                     std::to_string(weight));
        ASSERT_EQ(trained.losses.size(), 1u);
        EXPECT_EQ(trained.losses[0].weight, weight);
        expect_close(trained.losses[0].value.value(), expected.loss.value(), tolerance, "loss");
        expect_close(trained.x, expected.gradients[expected.x], tolerance, "x");
        expect_close(trained.parameters[0], expected.gradients[expected.W], tolerance, "W");
        expect_close(trained.parameters[1], expected.gradients[expected.b], tolerance, "b");
        expect_close(trained.parameters[2], expected.gradients[expected.R], tolerance, "R");
      }
}

TEST(SelfNormalizing, ReconstructionLeavesInputAndBiasAlone) {
  const auto flow = self_normalizing(D, {1, true, false});
  const Var x = Var::leaf(normal(batch, 6));
  Pass pass;
  pass.mode = Mode::train;
  flow->forward(x, pass);
  const Gradients gradients = backward(pass.losses.at(0).value);
  EXPECT_EQ(gradients[x].values(), std::vector<Real>(x.size(), 0));
  EXPECT_EQ(gradients[*flow->parameters()[1].parameter].values(), std::vector<Real>(D, 0));
  EXPECT_NE(sum(square(gradients[*flow->parameters()[0].parameter])).item(), 0);
}

TEST(SelfNormalizing, ExactEvaluationHasNoReconstructionLossAndNoUseForR) {
  const Trained ours = train(*self_normalizing(), Mode::exact);
  const Trained reference = train(*exact(), Mode::exact);
  EXPECT_TRUE(ours.losses.empty());
  EXPECT_EQ(ours.out.z.value().values(), reference.out.z.value().values());
  EXPECT_EQ(ours.out.logdet.value().values(), reference.out.logdet.value().values());
  EXPECT_EQ(ours.parameters[0].values(), reference.parameters[0].values());
  EXPECT_EQ(ours.parameters[2].values(), std::vector<Real>(D * D, 0));
}

TEST(RelativeGradient, IsTheOrdinaryGradientTimesWtW) {
  const Trained trained = train(*relative_gradient()), reference = train(*exact());
  const Tensor W = near_identity(D, 1), WtW = matmul(transposed(W), W);
  expect_close(trained.parameters[0], matmul(reference.parameters[0], WtW), tolerance, "W");
  expect_close(trained.parameters[1], reference.parameters[1], tolerance, "b");
  expect_close(trained.x, reference.x, tolerance, "x");
  EXPECT_TRUE(trained.losses.empty());
}

TEST(LinearTraining, LogdetIsTheConstantZeroWithAGradient) {
  for (const auto& flow : {self_normalizing(), relative_gradient()}) {
    Pass pass;
    pass.mode = Mode::train;
    const Out out = flow->forward(Tensor::zeros(batch), pass);
    EXPECT_EQ(out.logdet.value().values(), std::vector<Real>(7, 0));
    const Tensor gW = backward(out.logdet, Tensor::full({7}, 1))[*flow->parameters()[0].parameter];
    EXPECT_NE(sum(square(gW)).item(), 0);
  }
}

TEST(LinearTraining, ExactLayerHasItsTrueLogdet) {
  const Trained trained = train(*exact());
  const double expected = LU(near_identity(D, 1)).log_abs_det();
  for (Real logdet : trained.out.logdet.value().values()) EXPECT_NEAR(logdet, expected, tolerance);
}

// ---- Factorizations ---------------------------------------------------------------------------

void training_step(const Flow& flow) {
  Pass pass;
  pass.mode = Mode::train;
  const Density density(flow, {D});
  Var loss = -mean(density.objective(normal(batch, 6), pass));
  for (const auto& [value, weight, adapt] : pass.losses) loss = loss + value * weight;
  SGD(flow.parameters()).step(backward(loss), 1e-3);
}

TEST(SelfNormalizing, TrainingStepFactorisesNothing) {
  const auto flow = self_normalizing();
  const Index before = factorizations();
  for (int step = 0; step < 3; ++step) training_step(*flow);
  Density(*flow, {D}).sample(5, Random(1));
  EXPECT_EQ(factorizations(), before);
}

TEST(RelativeGradient, TrainingStepFactorisesNothing) {
  const auto flow = relative_gradient();
  const Index before = factorizations();
  for (int step = 0; step < 3; ++step) training_step(*flow);
  EXPECT_EQ(factorizations(), before);
}

TEST(LinearFlows, FactoriseOnceUntilTheWeightsChange) {
  for (const auto& flow : {exact(), relative_gradient(), self_normalizing()}) {
    Pass pass;
    pass.inverse = Inverse::exact;
    const Density density(*flow, {D});
    for (int change = 0; change < 3; ++change) {
      const Index before = factorizations();
      for (int evaluation = 0; evaluation < 3; ++evaluation) {
        density.log_prob(normal(batch, 6));
        flow->inverse(normal({2, D}, 6), pass);
      }
      EXPECT_EQ(factorizations(), before + 1);
      const Real expected = LU(flow->parameters()[0].parameter->value()).log_abs_det();
      EXPECT_EQ(flow->forward(normal(batch, 6)).logdet.value()[0], expected);
      training_step(*flow);
    }
  }
}

TEST(Conv1x1, FactorisesOnceUntilItsMatrixChanges) {
  const Tensor W = near_identity(3, 1);
  const Conv1x1 flow(W);
  const Tensor x = normal({2, 3, 4, 5}, 1);
  const auto walks = [&] {
    return factorizations_of([&] {
      for (int i = 0; i < 3; ++i) {
        backward(sum(flow.forward(x).logdet));
        flow.inverse(x);
      }
    });
  };
  EXPECT_EQ(walks(), 1);
  EXPECT_EQ(walks(), 0);
  flow.parameters()[0].parameter->set(W * 2);
  EXPECT_EQ(walks(), 1);
  const Real expected = static_cast<Real>(20 * LU(W * 2).log_abs_det());
  EXPECT_NEAR(flow.forward(x).logdet.value()[0], expected, 1e-4);
}

// ---- Training in Real, likelihoods in double --------------------------------------------------

TEST(Exact, TrainsWithTheLogDeterminantInRealAndEvaluatesWithTheOneInDouble) {
  const Index n = 40;
  const Tensor W = near_identity(n, 1);
  const LU lu(W);
  const auto [in_real, gradient_in_real] = logabsdet_in_real(W);
  const auto flow = exact(n);
  const Tensor x = normal({3, n}, 6);
  for (int turn = 0; turn < 2; ++turn)  // neither mode sees what the other one has kept
    for (Mode mode : {Mode::train, Mode::exact}) {
      Pass pass;
      pass.mode = mode;
      const Var logdet = flow->forward(x, pass).logdet;
      const bool training = mode == Mode::train;
      EXPECT_EQ(logdet.value()[0], static_cast<Real>(training ? in_real : lu.log_abs_det()));
      const Tensor gW = backward(slice(logdet, 0, 0, 1))[*flow->parameters()[0].parameter];
      EXPECT_EQ(gW.values(), (training ? gradient_in_real : transpose(lu.inverse())).values());
    }
}

TEST(Exact, KeepsOneLogDeterminantForEachModeUntilTheWeightsChange) {
  const auto flow = exact();
  const auto walks = [&](Mode mode) {
    return factorizations_of([&] {
      for (int i = 0; i < 3; ++i) train(*flow, mode);
    });
  };
  for (int change = 0; change < 2; ++change) {
    EXPECT_EQ(walks(Mode::train), 1);
    EXPECT_EQ(walks(Mode::exact), 1);
    EXPECT_EQ(walks(Mode::train), 0);
    EXPECT_EQ(walks(Mode::exact), 0);
    flow->parameters()[0].parameter->update([](Tensor&) {});
  }
}

TEST(Exact, AMatrixWithoutPivotsInFloatTrainsInDouble) {
  const Tensor W({2, 2}, {3, 1, 1, Real(1) / 3});
  const Exact flow(W, Tensor::zeros({2}));
  Pass pass;
  pass.mode = Mode::train;
  const auto logdet = [&] { return flow.forward(normal({3, 2}, 1), pass).logdet.value()[0]; };
  if (in_double) {
    EXPECT_NE(error_of(logdet).find("singular"), std::string::npos);
  } else {
    EXPECT_EQ(logdet(), static_cast<Real>(LU(W).log_abs_det()));
  }
}

// A layer that says how long its preparation takes, and writes down when it comes.
class Costly : public Flow {
 public:
  Costly(double flop, std::vector<double>& order) : flop_(flop), order_(order) {}
  Out forward(const Var& x, Pass&) const override { return {x, Tensor::zeros({x.size(0)})}; }
  Tensor inverse(const Tensor& z, Pass&) const override { return z; }
  void prepare(Mode, bool) const override { order_.push_back(flop_); }
  double prepare_flop(Mode) const override { return flop_; }

 private:
  double flop_;
  std::vector<double>& order_;
};

TEST(Sequential, PreparesItsCostlyLayersFirst) {
  const WithThreads one(1);
  std::vector<double> order;
  const auto chain_of = [&](const std::vector<double>& flops) {
    std::vector<std::unique_ptr<Flow>> layers;
    for (double flop : flops) layers.push_back(std::make_unique<Costly>(flop, order));
    return layers;
  };
  auto layers = chain_of({1, 0, 5, 30});
  layers.push_back(std::make_unique<Sequential>(chain_of({9, 0, 11})));
  const Sequential flow(std::move(layers));
  flow.prepare(Mode::train, true);
  EXPECT_EQ(order, (std::vector<double>{30, 11, 9, 0, 5, 1, 0}));
  EXPECT_EQ(flow.prepare_flop(Mode::train), 56);
}

TEST(Exact, KnowsTheFlopOfItsLogDeterminantOnceItHasSeenABatch) {
  const auto small = exact(2), large = exact(8);
  EXPECT_EQ(large->prepare_flop(Mode::train), 0);
  small->forward(normal({3, 2}, 1));
  large->forward(normal({3, 8}, 1));
  EXPECT_GT(large->prepare_flop(Mode::train), small->prepare_flop(Mode::train));
  const auto learned = self_normalizing(8);
  learned->forward(normal({3, 8}, 1));
  EXPECT_EQ(learned->prepare_flop(Mode::train), 0);
  EXPECT_GT(learned->prepare_flop(Mode::exact), 0);
}

// ---- Inverses and errors ----------------------------------------------------------------------

TEST(SelfNormalizing, HasTwoInverses) {
  const auto flow = self_normalizing();
  const Tensor z = normal({7, D}, 6), shifted = z - normal({D}, 2);
  const Tensor by_R = matmul(shifted, transposed(near_identity(D, 3)));
  const Tensor by_W = matmul(shifted, transposed(LU(near_identity(D, 1)).inverse()));
  Pass pass;
  EXPECT_EQ(pass.inverse, Inverse::learned);
  expect_close(flow->inverse(z, pass), by_R, tolerance, "R (z - b)");
  pass.inverse = Inverse::exact;
  expect_close(flow->inverse(z, pass), by_W, tolerance, "W^-1 (z - b)");
  expect_close(exact()->inverse(z), by_W, tolerance, "exact");
}

TEST(LinearFlows, WrongShapesAreNamed) {
  const Tensor b = Tensor::zeros({2}), W = Tensor::identity(2);
  EXPECT_EQ(error_of([&] {
              Exact(Tensor::zeros({2, 3}), b);
            }),
            "[linear] W must be a square matrix, its shape is (2, 3)");
  EXPECT_EQ(error_of([&] { RelativeGradient(Tensor::zeros({2}), b); }),
            "[linear] W must be a square matrix, its shape is (2)");
  EXPECT_EQ(error_of([&] { Exact(W, Tensor::zeros({3})); }),
            "[linear] W is (2, 2), so b must be (2), its shape is (3)");
  EXPECT_EQ(error_of([&] { SelfNormalizing(W, Tensor::identity(3), b); }),
            "[self_normalizing] W is (2, 2), R is (3, 3)");
  for (const auto& flow : {exact(), relative_gradient(), self_normalizing()})
    for (const Shape& shape : {Shape{4, 5}, Shape{4}, Shape{4, 1}, Shape{}}) {
      std::ostringstream text;
      text << "[linear] examples of 6 values expected, the input's shape is " << shape;
      EXPECT_EQ(error_of([&] { flow->forward(Tensor::zeros(shape)); }), text.str());
      EXPECT_EQ(error_of([&] { flow->inverse(Tensor::zeros(shape)); }), text.str());
    }
}

TEST(LinearFlows, SingularWeightsFailOnlyWhereTheirInverseIsNeeded) {
  const Tensor W({2, 2}, {1, 2, 2, 4}), x = normal({3, 2}, 1);
  const Exact exact(W, Tensor::zeros({2}));
  EXPECT_EQ(error_of([&] { exact.forward(x); }),
            "[logabsdet] the (2, 2) matrix is singular: pivot 2 is 0");
  EXPECT_EQ(error_of([&] { exact.inverse(x); }),
            "[solve] the (2, 2) matrix is singular: pivot 2 is 0");
  const SelfNormalizing flow(W, W, Tensor::zeros({2}));
  Pass pass;
  pass.mode = Mode::train;
  EXPECT_EQ(error_of([&] { flow.forward(x, pass), flow.inverse(x); }), "no error");
}

TEST(Exact, KnowsItsDeterminantAfterEveryKindOfChange) {
  const Exact flow(Tensor::identity(2), Tensor::zeros({2}));
  Parameter& weight = *flow.parameters()[0].parameter;
  const auto logdet = [&] { return flow.forward(Tensor::zeros({1, 2})).logdet.value()[0]; };
  EXPECT_EQ(logdet(), 0);
  weight.update([](std::span<Real> values) { values[0] = 100; });
  EXPECT_NEAR(logdet(), std::log(100.0), 1e-5);
  weight.update([](Tensor& value) { value.mutable_data()[0] = 10; });
  EXPECT_NEAR(logdet(), std::log(10.0), 1e-5);
  weight.set(Tensor::identity(2));
  EXPECT_EQ(logdet(), 0);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

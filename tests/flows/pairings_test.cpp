// Coupling and Autoregressive with the simplest transform.
#include <chrono>

#include "backflow/flows/autoregressive/autoregressive.h"
#include "backflow/flows/coupling/coupling.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/inverted.h"
#include "backflow/flows/sequential.h"
#include "backflow/tests/flows/check_zoo.h"
#include "backflow/tests/flows/simple_transform.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Net net_of(Index context = 0) {
  return {.hidden = {12, 10}, .activation = tanh, .context = context};
}

std::unique_ptr<Flow> coupling(Index D, Index kept, Index context = 0) {
  return std::make_unique<Coupling>(D, kept, std::make_unique<SimpleTransform>(), net_of(context),
                                    Random(1));
}

std::unique_ptr<Flow> autoregressive(std::vector<Index> order, Index context = 0) {
  return std::make_unique<Autoregressive>(std::move(order), std::make_unique<SimpleTransform>(),
                                          net_of(context), Random(1));
}

void check_pairing(const std::string& name, Flow& flow, Index D) {
  randomize(flow, Random(2));
  const Tensor x = Random(3).normal({3, D});
  check_flow(name, flow, x, x * 1e4);
  check_recorded_inverse(flow, x);
  check_batches_of_one(flow, x);
  check_threads(flow, Random(4).normal({700, D}));
  check_takes_no_context(flow, x);
}

TEST(Pairing, Coupling) {
  check_pairing("coupling 1 of 2", *coupling(2, 1), 2);
  check_pairing("coupling 1 of 5", *coupling(5, 1), 5);
  check_pairing("coupling 4 of 5", *coupling(5, 4), 5);
}

TEST(Pairing, Autoregressive) {
  check_pairing("autoregressive 1", *autoregressive({0}), 1);
  check_pairing("autoregressive 2", *autoregressive({1, 0}), 2);
  check_pairing("autoregressive 5", *autoregressive({3, 0, 4, 1, 2}), 5);
}

TEST(Pairing, BeginsAsTheTransformDoes) {
  const Tensor x = Random(3).normal({3, 4});
  const Tensor z = autoregressive(ascending(4))->forward(x).z.value();
  expect_close(z, x + Tensor(Real(1)), 1e-6, "autoregressive");  // SimpleTransform::initial
  const Tensor of_coupling = coupling(4, 2)->forward(x).z.value();
  expect_close(of_coupling, x + Tensor({4}, {0, 0, 1, 1}), 1e-6, "coupling");
  const Coupling random(4, 2, std::make_unique<SimpleTransform>(), net_of(), Random(1),
                        Start::random);
  const Tensor shift = random.forward(x).z.value() - of_coupling;
  EXPECT_NE(shift[2], 0);
  EXPECT_NE(shift[2], shift[6]) << "the same for each example";
}

TEST(Pairing, ContextReachesEveryOutput) {
  const Tensor x5 = Random(3).normal({3, 5}), x1 = Random(3).normal({3, 1});
  const Tensor context = Random(5).normal({3, 2});
  const auto check = [&](Flow& flow, const Tensor& x) {
    check_context_rules(flow, x, 2);
    randomize(flow, Random(2));
    check_context_gradient(flow, x, context);
    Pass pass;
    pass.context = context;
    check_flow("with a context", flow, x, x * 1e4, pass);
    check_recorded_inverse(flow, x, pass);
    check_batches_of_one(flow, x, pass);
  };
  check(*autoregressive({0}, 2), x1);
  check(*autoregressive({3, 0, 4, 1, 2}, 2), x5);
  // A coupling leaves some coordinates as they are: two of them, with an order between.
  std::vector<std::unique_ptr<Flow>> layers;
  layers.push_back(coupling(5, 3, 2));
  layers.push_back(std::make_unique<Inverted>(autoregressive({4, 3, 2, 1, 0})));
  layers.push_back(autoregressive({0, 1, 2, 3, 4}, 2));
  Sequential flow(std::move(layers));
  check(flow, x5);
}

TEST(Pairing, FirstBatchPassesAnInvertedFlowThatTakesNoContext) {
  std::vector<std::unique_ptr<Flow>> inner, layers;
  inner.push_back(std::make_unique<ActNorm>(3));
  inner.push_back(autoregressive({0, 1, 2}));
  layers.push_back(coupling(3, 1, 2));
  layers.push_back(std::make_unique<Inverted>(std::make_unique<Sequential>(std::move(inner))));
  const Sequential flow(std::move(layers));
  Pass pass;
  pass.mode = Mode::train;
  pass.context = Random(5).normal({10, 2});
  flow.begin_step(Random(3).normal({10, 3}), pass);
  EXPECT_FALSE(flow.awaits_first_batch());
}

TEST(Pairing, ContextIsNotLinearForTheFirstCoordinate) {
  const auto flow = autoregressive({0, 1}, 1);
  randomize(*flow, Random(2), 2);
  const auto shift = [&](Real c) {
    Pass pass;
    pass.context = Tensor({1, 1}, {c});
    return flow->forward(Tensor::zeros({1, 2}), pass).z.value()[0];
  };
  EXPECT_GT(std::abs(shift(1) + shift(-1) - 2 * shift(0)), 1e-3);
}

// Two evaluations are measured here, 64 without Made::fill(); in the quietest of a few rounds.
TEST(Pairing, SampleOf64CoordinatesTakesAtMostThreeEvaluationsOfTheDensity) {
  if (sanitized) GTEST_SKIP() << "the sanitizers' time is not the library's";
  const WithThreads alone(1);
  const Autoregressive flow(ascending(64), std::make_unique<SimpleTransform>(), {}, Random(1));
  randomize(flow, Random(2), 0.1);
  const Tensor x = Random(3).normal({256, 64});
  const auto seconds_of = [](const auto& f) {
    const auto start = std::chrono::steady_clock::now();
    f();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  const NoGrad no_grad;
  double forward = 1e9, inverse = 1e9;
  for (int round = 0; round < 300 && (round < 10 || inverse > 3 * forward); ++round) {
    forward = std::min(forward, seconds_of([&] { flow.forward(x); }));
    inverse = std::min(inverse, seconds_of([&] { flow.inverse(x); }));
  }
  EXPECT_LE(inverse, 3 * forward);
}

TEST(Pairing, RefusesWhatMakesNoFlow) {
  const auto transform = [] { return std::make_unique<SimpleTransform>(); };
  EXPECT_EQ(error_of([&] { Coupling(1, 1, transform(), {}, Random(1)); }),
            "[coupling] 2 coordinates at least can be split, got D = 1; Autoregressive takes 1");
  for (Index kept : {-1, 0, 4, 5})
    EXPECT_NE(error_of([&] {
                Coupling(4, kept, transform(), {}, Random(1));
              }).find("1 ... 3 of 4 coordinates must be kept, got " + std::to_string(kept)),
              std::string::npos);
  EXPECT_EQ(error_of([&] { Coupling(4, 2, nullptr, {}, Random(1)); }),
            "[coupling] the transform is null");
  EXPECT_EQ(error_of([&] { Autoregressive({0}, nullptr, {}, Random(1)); }),
            "[autoregressive] the transform is null");
  EXPECT_EQ(error_of([&] { Coupling(4, 2, transform(), {.context = -1}, Random(1)); }),
            "[mlp] a context of -1 numbers; expected 0 or more");
  EXPECT_NE(error_of([] { ascending(0); }), "no error");
}

TEST(Pairing, RefusesOtherShapes) {
  const std::vector<std::unique_ptr<Flow>> flows = [] {
    std::vector<std::unique_ptr<Flow>> all;
    all.push_back(coupling(3, 1));
    all.push_back(autoregressive({0, 1, 2}));
    return all;
  }();
  for (const auto& flow : flows)
    for (const Shape& shape : {Shape{}, Shape{3}, Shape{2, 4}, Shape{2, 3, 1}, Shape{0, 2}}) {
      const Tensor x = Tensor::zeros(shape);
      Pass pass;
      EXPECT_NE(error_of([&] { flow->forward(x); }), "no error") << shape;
      EXPECT_NE(error_of([&] { flow->inverse(x); }), "no error") << shape;
      EXPECT_NE(error_of([&] { flow->inverse_recorded(x, pass); }), "no error") << shape;
    }
  for (const auto& flow : flows) {
    EXPECT_EQ(flow->forward(Tensor::zeros({0, 3})).z.shape(), Shape({0, 3}));
    EXPECT_EQ(flow->inverse(Tensor::zeros({0, 3})).shape(), Shape({0, 3}));
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

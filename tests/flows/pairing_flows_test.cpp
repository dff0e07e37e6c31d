// NICE, Real NVP, MAF and IAF as they are offered; against other libraries' values they are tested
// in pairings_vectors_test.cpp.
#include "backflow/flows/autoregressive/iaf.h"
#include "backflow/flows/autoregressive/maf.h"
#include "backflow/flows/coupling/nice.h"
#include "backflow/flows/coupling/real_nvp.h"
#include "backflow/flows/density.h"
#include "backflow/flows/inverted.h"
#include "backflow/tests/flows/check_zoo.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using FlowPtr = std::unique_ptr<Flow>;

struct Case {
  const char* name;
  Index least_D;
  FlowPtr (*make)(Index D, int layers, const Net& net);
};

const std::vector<Case> cases = {
    {"nice", 2,
     [](Index D, int layers, const Net& net) -> FlowPtr {
       return nice(D, {.layers = layers, .net = net}, Random(1));
     }},
    {"real_nvp", 2,
     [](Index D, int layers, const Net& net) -> FlowPtr {
       return real_nvp(D, {.layers = layers, .net = net}, Random(1));
     }},
    {"maf", 1,
     [](Index D, int layers, const Net& net) -> FlowPtr {
       return maf(D, {.layers = layers, .net = net}, Random(1));
     }},
    {"iaf", 1,
     [](Index D, int layers, const Net& net) -> FlowPtr {
       return iaf(D, {.layers = layers, .net = net}, Random(1));
     }},
    {"gated iaf", 1,
     [](Index D, int layers, const Net& net) -> FlowPtr {
       return iaf(D, {.layers = layers, .net = net, .gated = true}, Random(1));
     }},
    {"inverted iaf", 1,
     [](Index D, int layers, const Net& net) -> FlowPtr {
       return std::make_unique<Inverted>(iaf(D, {.layers = layers, .net = net}, Random(1)));
     }},
};

Net smooth(Index context = 0) {
  return {.hidden = {12, 9}, .activation = tanh, .context = context};
}

TEST(PairingFlows, AreFlowsAtRandomParameters) {
  for (const Case& at : cases)
    for (Index D : {1, 2, 5}) {
      if (D < at.least_D) continue;
      const FlowPtr flow = at.make(D, 3, smooth());
      randomize(*flow, Random(2), 0.3);
      const Tensor x = Random(3).normal({3, D});
      check_flow(at.name, *flow, x, x * 1e4);
      check_recorded_inverse(*flow, x);
      check_batches_of_one(*flow, x);
      check_threads(*flow, Random(4).normal({300, D}));
      check_takes_no_context(*flow, x);
    }
}

TEST(PairingFlows, ContextReachesEveryOutput) {
  for (const Case& at : cases)
    for (Index D : {1, 5}) {
      if (D < at.least_D) continue;
      SCOPED_TRACE(at.name);
      const FlowPtr flow = at.make(D, 3, smooth(2));
      const Tensor x = Random(3).normal({3, D}), context = Random(5).normal({3, 2});
      randomize(*flow, Random(2), 0.3);
      check_with_context(*flow, x, context);
    }
}

// As they are by themselves, with eight layers.
TEST(PairingFlows, InverseHoldsOutToFiveStandardDeviations) {
  for (const Case& at : cases)
    for (Index D : {2, 8, 64}) {
      const FlowPtr flow = at.make(D, 8, {});
      randomize_by_fan_in(*flow, Random(2));
      Tensor z = Random(3).normal({50, D});
      for (Index i = 0; i < D; ++i) z.set({0, i}, i % 2 == 0 ? 5 : -5);
      const double tolerance = in_double ? 1e-9 : 1e-4;
      const Tensor x = flow->inverse(z), y = flow->forward(z).z.value();
      expect_close(flow->forward(x).z.value(), z, tolerance, at.name);
      expect_close(flow->inverse(y), z, tolerance, at.name);
    }
}

TEST(PairingFlows, BeginAsTheIdentity) {
  const Tensor x = Random(3).normal({5, 3});
  for (const Case& at : cases) {
    const std::string name = at.name;
    if (name == "nice" || name == "gated iaf") continue;
    expect_close(at.make(3, 4, {})->forward(x).z.value(), x, 1e-6, name);
  }
}

// Where data and base are symmetric in each coordinate, the gradient of a last layer of zeros is 0.
TEST(PairingFlows, NiceBeginsWhereItCanMove) {
  const FlowPtr flow = nice(2, {.layers = 2}, Random(1));
  const Tensor x = Random(3).normal({100, 2}), flipped = x * Tensor({2}, {1, -1});
  const Density density(*flow, {2});
  Pass pass;
  const Gradients gradients =
      backward(mean(density.objective(concat({x, -x, flipped, -flipped}, 0), pass)));
  for (const auto& [name, parameter] : flow->parameters())
    if (name == "1.net.4.weight") {
      EXPECT_GT(norm(gradients[*parameter]).item(), 1e-3);
    }
}

TEST(PairingFlows, EveryCoordinateReachesEveryOther) {
  for (const Case& at : cases)
    for (Index D : {2, 5}) {
      const FlowPtr flow = at.make(D, 4, smooth());
      randomize(*flow, Random(2), 0.3);
      const auto f = [&](const Var& x) { return reshape(flow->forward(x).z, Shape{D}); };
      for (Real slope : jacobian(f, Random(3).normal({1, D})).values())
        EXPECT_NE(slope, 0) << at.name;
    }
}

TEST(PairingFlows, GatedIafBeginsAsAContraction) {
  const FlowPtr flow = iaf(2, {.layers = 3, .gated = true, .gate = {.bias = 1}}, Random(1));
  const Tensor x = Random(3).normal({5, 2});
  const double s = 1 / (1 + std::exp(-1));
  expect_close(flow->forward(x).z.value(), x * static_cast<Real>(s * s * s), 1e-6, "z");
}

TEST(PairingFlows, NiceStretchesEveryPointAlike) {
  const FlowPtr flow = nice(3, {.layers = 4}, Random(1));
  randomize(*flow, Random(2));
  const Tensor logdet = flow->forward(Random(3).normal({5, 3})).logdet.value();
  for (Real value : logdet.values()) EXPECT_EQ(value, logdet[0]);
}

TEST(PairingFlows, IafKnowsTheDensityOfItsSamples) {
  FlowPtr flow = iaf(3, {.layers = 2, .net = smooth()}, Random(1));
  randomize(*flow, Random(2));
  const Tensor noise = Random(3).normal({6, 3});
  const Out out = flow->forward(noise);
  const Tensor log_q = standard_normal().log_prob(noise).value() - out.logdet.value();
  const Inverted turned(std::move(flow));
  expect_close(Density(turned, {3}).log_prob(out.z.value()), log_q, in_double ? 1e-10 : 1e-4,
               "log q");
}

TEST(PairingFlows, RefuseWhatMakesNoFlow) {
  for (const Case& at : cases) {
    SCOPED_TRACE(at.name);
    EXPECT_NE(error_of([&] { at.make(2, 0, {}); }).find("at least one layer expected, got 0"),
              std::string::npos);
    for (Index D = -1; D < at.least_D; ++D)
      EXPECT_NE(error_of([&] { at.make(D, 2, {}); }), "no error") << D;
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

// NAF, Flow++ and neural spline flows as they are offered; against other libraries' values their
// transforms are tested in transforms/elements_vectors_test.cpp.
#include "backflow/flows/autoregressive/naf.h"
#include "backflow/flows/autoregressive/neural_spline.h"
#include "backflow/flows/coupling/flowpp.h"
#include "backflow/flows/coupling/neural_spline.h"
#include "backflow/flows/density.h"
#include "backflow/tests/flows/check_zoo.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using FlowPtr = std::unique_ptr<Flow>;

struct Case {
  const char* name;
  Index least_D;
  bool begins_as_identity;
  FlowPtr (*make)(Index D, int layers, const Net& net, const SplineOptions& spline, Index bins);
};

const std::vector<Case> cases = {
    {"neural_spline_coupling", 2, true,
     [](Index D, int layers, const Net& net, const SplineOptions& spline, Index bins) {
       return neural_spline_coupling(
           D, {.layers = layers, .net = net, .bins = bins, .spline = spline}, Random(1));
     }},
    {"neural_spline_autoregressive", 1, true,
     [](Index D, int layers, const Net& net, const SplineOptions& spline, Index bins) {
       return neural_spline_autoregressive(
           D, {.layers = layers, .net = net, .bins = bins, .spline = spline}, Random(1));
     }},
    {"naf", 1, false,
     [](Index D, int layers, const Net& net, const SplineOptions&, Index) {
       return naf(D, {.layers = layers, .net = net}, Random(1));
     }},
    {"flowpp", 2, false,
     [](Index D, int layers, const Net& net, const SplineOptions&, Index) {
       return flowpp(D, {.layers = layers, .net = net}, Random(1));
     }},
};

// From where it begins to random parameters about there.
void shake(const Flow& flow, double size) {
  std::uint32_t stream = 0;
  for (const auto& [name, parameter] : flow.parameters()) {
    const Tensor noise = Random(2).stream(stream++).normal({1, parameter->value().size()});
    parameter->set(parameter->value() +
                   noise.reshape(parameter->shape()) * static_cast<Real>(size));
  }
}

// Small and without bends; the knots of its splines are far apart: differences across one, where
// the slope has a bend, are wrong.
FlowPtr smooth(const Case& at, Index D, Index context = 0) {
  return at.make(D, 2, {.hidden = {12, 9}, .activation = tanh, .context = context}, {.bound = 20},
                 3);
}

FlowPtr usual(const Case& at, Index D, int layers) {
  return at.make(D, layers, {}, {.bound = 4}, 8);
}

TEST(MixtureAndSplineFlows, AreFlowsAtRandomParameters) {
  for (const Case& at : cases)
    for (Index D : {1, 2, 5}) {
      if (D < at.least_D) continue;
      const FlowPtr flow = smooth(at, D);
      shake(*flow, 0.09);
      const Tensor x = Random(6).normal({3, D});
      check_flow(at.name, *flow, x, x * 1e4);
      check_recorded_inverse(*flow, x);
      check_takes_no_context(*flow, x);
      const FlowPtr bent = usual(at, D, 2);
      shake(*bent, 0.15);
      check_logdet(*bent, x, {});
      check_batches_of_one(*bent, x);
      check_threads(*bent, Random(4).normal({300, D}));
    }
}

TEST(MixtureAndSplineFlows, ContextReachesEveryOutput) {
  for (const Case& at : cases)
    for (Index D : {1, 4}) {
      if (D < at.least_D) continue;
      SCOPED_TRACE(at.name);
      const FlowPtr flow = smooth(at, D, 2);
      const Tensor x = Random(3).normal({3, D}), context = Random(5).normal({3, 2});
      shake(*flow, 0.09);
      check_with_context(*flow, x, context);
    }
}

TEST(MixtureAndSplineFlows, InverseHoldsOutToFiveStandardDeviations) {
  for (const Case& at : cases)
    for (Index D : {2, 8, 64}) {
      const FlowPtr flow = usual(at, D, 4);
      randomize_by_fan_in(*flow, Random(2));
      Tensor z = Random(3).normal({50, D});
      for (Index i = 0; i < D; ++i) z.set({0, i}, i % 2 == 0 ? 5 : -5);
      const Tensor x = flow->inverse(z), y = flow->forward(z).z.value();
      const double tolerance = in_double ? 1e-9 : 1e-4;
      expect_close(flow->forward(x).z.value(), z, tolerance, at.name);
      if (in_double) expect_close(flow->inverse(y), z, tolerance, at.name);
    }
}

TEST(MixtureAndSplineFlows, EveryCoordinateReachesEveryOther) {
  for (const Case& at : cases)
    for (Index D : {2, 5}) {
      const FlowPtr flow = usual(at, D, 4);
      randomize_by_fan_in(*flow, Random(2));
      const auto f = [&](const Var& x) { return reshape(flow->forward(x).z, Shape{D}); };
      for (Real slope : jacobian(f, Random(3).normal({1, D})).values())
        EXPECT_NE(slope, 0) << at.name;
    }
}

TEST(MixtureAndSplineFlows, BeginAsTheIdentityOrNearIt) {
  const Tensor x = Random(3).normal({5, 3});
  for (const Case& at : cases) {
    const Out out = usual(at, 3, 4)->forward(x);
    expect_close(out.z.value(), x, at.begins_as_identity ? 1e-5 : 2, at.name);
    expect_close(out.logdet.value(), Tensor::zeros({5}), at.begins_as_identity ? 1e-5 : 8, at.name);
  }
}

TEST(MixtureAndSplineFlows, DrawWhatTheirDensitySays) {
  for (const Case& at : cases) {
    const FlowPtr flow = usual(at, 7, 2);
    shake(*flow, 0.1);
    const Density density(*flow, {7});
    const Sample sample = density.sample_and_log_prob(20, Random(3));
    expect_close(density.log_prob(sample.x), sample.log_prob, in_double ? 1e-9 : 1e-3, at.name);
  }
}

// A mixture cannot be had with its logit clipped: far out, the density would be 0 or NaN.
TEST(MixtureAndSplineFlows, HaveTails) {
  for (const Case& at : cases) {
    const FlowPtr flow = usual(at, 2, 2);
    shake(*flow, 0.09);
    const Tensor log_prob = Density(*flow, {2}).log_prob(Tensor({2, 2}, {60, 60, -60, 70}));
    EXPECT_TRUE(all_finite(log_prob)) << at.name;
    EXPECT_LT(log_prob[0], -30) << at.name;
  }
}

TEST(MixtureAndSplineFlows, RefuseWhatMakesNoFlow) {
  for (const Case& at : cases) {
    SCOPED_TRACE(at.name);
    EXPECT_NE(error_of([&] { usual(at, 2, 0); }).find("at least one layer expected, got 0"),
              std::string::npos);
    for (Index D = -1; D < at.least_D; ++D)
      EXPECT_NE(error_of([&] { usual(at, D, 2); }), "no error") << D;
  }
  EXPECT_NE(error_of([] { naf(2, {.sigmoids = 0}, Random(1)); }), "no error");
  EXPECT_NE(error_of([] { flowpp(2, {.components = -3}, Random(1)); }), "no error");
  EXPECT_NE(error_of([] { neural_spline_coupling(2, {.bins = 0}, Random(1)); }), "no error");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

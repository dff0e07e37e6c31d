#include "backflow/flows/discrete/integer_discrete_flow.h"

#include "backflow/engine/optimizer.h"
#include "backflow/flows/density.h"
#include "backflow/flows/discrete/discretized_logistic.h"
#include "backflow/ops/rounding.h"
#include "backflow/tests/flows/check_zoo.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Tensor whole_numbers(const Shape& shape, double size, double step = 1) {
  return round_to(Random(5).normal(shape) * size, step);
}

// Far from its start, where most shifts are rounded to 0.
std::unique_ptr<Flow> random_flow(Index D, const IdfOptions& options) {
  auto flow = integer_discrete_flow(D, options, Random(1));
  randomize(*flow, Random(2), 0.7);
  return flow;
}

double sum_of_sizes(const Tensor& x) {
  return sum(pointwise(x, [](Real x) { return std::abs(x); })).item();
}

TEST(IntegerDiscreteFlow, AMillionIntegersComeBackExactly) {
  for (const auto& [B, step] :
       std::vector<std::pair<Index, double>>{{100000, 1}, {1000, 1.0 / 8}, {1000, 4}}) {
    const auto flow = random_flow(10, {.layers = 4, .net = {.hidden = {16}}, .step = step});
    const Tensor x = whole_numbers({B, 10}, 50 * step, step);
    const Out out = flow->forward(x);
    EXPECT_EQ(flow->inverse(out.z.value()).values(), x.values());
    EXPECT_EQ(out.z.value().values(), round_to(out.z.value(), step).values());
    EXPECT_EQ(out.logdet.value().values(), std::vector<Real>(B, 0));
    EXPECT_GT(sum_of_sizes(out.z.value() - x),
              static_cast<double>(B) * step);  // it is not the identity
    EXPECT_EQ(flow->forward(flow->inverse(x)).z.value().values(), x.values());
  }
}

TEST(IntegerDiscreteFlow, ChangesEveryCoordinateWithinFourLayers) {
  for (Index D : {2, 3, 5, 16}) {
    const auto flow = random_flow(D, {.layers = 4, .net = {.hidden = {16}}});
    const Tensor x = whole_numbers({100, D}, 30), z = flow->forward(x).z.value();
    // The layers between have turned the coordinates three times.
    const Index quarter = (D + 3) / 4;
    for (Index i = 0; i < D; ++i) {
      const Index from = ((i - 3 * quarter) % D + D) % D;
      EXPECT_GT(sum_of_sizes(slice(z, 1, i, i + 1) - slice(x, 1, from, from + 1)), 10);
    }
  }
}

TEST(IntegerDiscreteFlow, MayBeginAsTheIdentity) {
  const auto flow = integer_discrete_flow(
      8, {.layers = 5, .net = {.hidden = {16}}, .start = Start::constant}, Random(1));
  const Tensor x = whole_numbers({100, 8}, 30);
  EXPECT_EQ(flow->forward(x).z.value().values(), x.values());  // after four quarters of a turn
}

TEST(WholeNumbers, AreMultiplesOfAStepAndComeBack) {
  const WholeNumbers flow(1.0 / 16);
  const Out out = flow.forward(Tensor({2, 2}, {0, 1, -24, 255}));
  EXPECT_EQ(out.z.value().values(),
            (std::vector<Real>{0, Real(0.0625), Real(-1.5), Real(15.9375)}));
  EXPECT_EQ(out.logdet.value().values(), (std::vector<Real>{0, 0}));
  EXPECT_EQ(flow.inverse(out.z.value()).values(), (std::vector<Real>{0, 1, -24, 255}));
  Pass pass;
  const Var z = Var::leaf(Tensor({1, 2}, {1, 2}));
  expect_close(backward(sum(flow.inverse_recorded(z, pass).z))[z], Tensor({1, 2}, {16, 16}), 0,
               "of z");
  EXPECT_EQ(
      error_of([] { WholeNumbers(0.1); }),
      "[whole_numbers] the step must be a power of two, such as 1 or 1/256, got 0.1: multiples "
      "of others are rounded");
}

TEST(IntegerDiscreteFlow, GradientPassesThroughTheRounding) {
  const DiscreteCoupling flow(3, 1, {.hidden = {}}, Random(1));
  const auto parameters = flow.parameters();
  parameters[0].parameter->set(Tensor({2, 1}, {Real(0.7), -2}));
  const Var x = Var::leaf(Tensor({1, 3}, {3, 5, 7}));
  const Gradients gradients = backward(flow.forward(x).z, Tensor({1, 3}, {1, 10, 100}));
  expect_close(gradients[x], Tensor({1, 3}, {1 + 7 - 200, 10, 100}), 1e-6, "of x");
  expect_close(gradients[*parameters[0].parameter], Tensor({2, 1}, {30, 300}), 1e-6, "of t");
}

TEST(IntegerDiscreteFlow, RefusesWhatIsNoMultipleOfItsStep) {
  const DiscreteCoupling whole(2, 1, {}, Random(1)), eighths(2, 1, {}, Random(1), 0.125);
  const auto line = [](const Flow& flow, double a) {
    const Tensor x({2, 2}, {0, 1, 2, Real(a)});
    const std::string forward = error_of([&] { flow.forward(x); });
    EXPECT_EQ(forward, error_of([&] { flow.inverse(x); }));
    return forward;
  };
  const std::string limit = in_double ? "9.0072e+15" : "1.67772e+07";
  EXPECT_EQ(line(whole, 0.5),
            "[discrete_coupling] the input[1, 1] is 0.5, expected a multiple of 1 "
            "of less than " +
                limit);
  EXPECT_EQ(line(eighths, 0.125), "no error");
  for (double bad : {0.1, 1e17, -1e17, HUGE_VAL, std::nan("")}) {
    EXPECT_NE(line(whole, bad), "no error") << bad;
    EXPECT_NE(line(eighths, bad), "no error") << bad;
  }
}

// The largest multiples whose sums are exact come back, and a shift that leads beyond them fails.
TEST(IntegerDiscreteFlow, RefusesToLeaveTheNumbersWhoseSumsAreExact) {
  const DiscreteCoupling flow(2, 1, {.hidden = {}}, Random(1));
  const Real last = 2 / std::numeric_limits<Real>::epsilon() - 1;
  flow.parameters()[0].parameter->set(Tensor::zeros({1, 1}));
  flow.parameters()[1].parameter->set(Tensor({1}, {3}));
  const Tensor inside({1, 2}, {-last, last - 3}), outside({1, 2}, {0, last - 2});
  EXPECT_EQ(flow.inverse(flow.forward(inside).z.value()).values(), inside.values());
  EXPECT_NE(error_of([&] { flow.forward(outside); }).find("the output[0, 1]"), std::string::npos);
  flow.parameters()[1].parameter->set(Tensor({1}, {std::numeric_limits<Real>::quiet_NaN()}));
  EXPECT_NE(error_of([&] { flow.forward(inside); }), "no error");
}

TEST(IntegerDiscreteFlow, RefusesWhatItCannotBe) {
  EXPECT_EQ(error_of([] { integer_discrete_flow(1, {}, Random(1)); }),
            "[discrete_coupling] 2 coordinates at least can be split, got D = 1");
  EXPECT_NE(error_of([] { integer_discrete_flow(4, {.layers = 0}, Random(1)); }), "no error");
  for (Index kept : {-1, 0, 3, 4})
    EXPECT_NE(error_of([&] { DiscreteCoupling(3, kept, {}, Random(1)); }), "no error");
  for (double step : {0.0, -1.0, 0.1, 3.0, HUGE_VAL, std::nan("")})
    EXPECT_NE(error_of([&] { DiscreteCoupling(3, 1, {}, Random(1), step); }), "no error");
  EXPECT_NE(error_of([] {
              DiscreteCoupling(3, 1, {}, Random(1)).forward(Tensor::zeros({2, 4}));
            }),
            "no error");
}

TEST(IntegerDiscreteFlow, TakesAContext) {
  const auto flow = random_flow(3, {.net = {.hidden = {8}, .context = 2}});
  const Tensor x = whole_numbers({50, 3}, 10);
  check_context_rules(*flow, x, 2);
  Pass pass;
  pass.context = Random(4).normal({50, 2}) * 5.0;
  const Tensor z = flow->forward(x, pass).z.value();
  EXPECT_EQ(flow->inverse(z, pass).values(), x.values());
  EXPECT_EQ(flow->inverse_recorded(z, pass).z.value().values(), x.values());
  Pass other;
  other.context = Tensor::zeros({50, 2});
  EXPECT_NE(flow->forward(x, other).z.value().values(), z.values());
  check_takes_no_context(DiscreteCoupling(3, 1, {}, Random(1)), x);
}

TEST(IntegerDiscreteFlow, ABatchAgreesWithBatchesOfOne) {
  check_batches_of_one(*random_flow(6, {.net = {.hidden = {32}}}), whole_numbers({40, 6}, 20));
}

TEST(IntegerDiscreteFlow, HasTheSameBitsOnAnyThreads) {
  const auto flow = random_flow(6, {.net = {.hidden = {32}}});
  check_threads(*flow, whole_numbers({300, 6}, 20));
}

// Pairs (n, n + 3) on the grid of eighths, n uniform among 16: 4 bits each, of which independent
// logistics cannot know. All its parameters are trained, and what it says is a probability.
TEST(IntegerDiscreteFlow, LearnsThatOneNumberFollowsFromAnother) {
  const auto flow =
      integer_discrete_flow(2, {.layers = 2, .net = {.hidden = {}}, .step = 0.125}, Random(1));
  const DiscretizedLogistic base({2}, {.step = 0.125});
  const Density density(*flow, {2}, base);
  Adam adam(density.parameters());
  Tensor x = Tensor::empty({16, 2});
  for (Index n = 0; n < 16; ++n) {
    x.set({n, 0}, Real(0.125) * n);
    x.set({n, 1}, Real(0.125) * (n + 3));
  }
  const auto bits = [&] { return mean(code_length(density.log_prob(x))).item(); };
  const Real before = bits();
  for (int step = 0; step < 600; ++step) {
    Pass pass;
    adam.step(backward(-mean(density.objective(x, pass))), 0.02);
  }
  EXPECT_GT(before, 8);
  EXPECT_LT(bits(), 5.5);
  EXPECT_GT(bits(), 4);
  const Sample sample = density.sample_and_log_prob(1000, Random(3));
  EXPECT_EQ(sample.x.values(), round_to(sample.x, 0.125).values());
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

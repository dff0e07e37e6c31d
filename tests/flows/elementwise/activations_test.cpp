// Every pointwise flow: what holds for all flows, and an inverse that is right to the last bits.
#include "backflow/flows/elementwise/activations.h"

#include <limits>

#include "backflow/tests/flows/check_flow.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Limits = std::numeric_limits<Real>;
using Double = std::numeric_limits<double>;
constexpr Real nan = Limits::quiet_NaN(), inf = Limits::infinity();

template <class F, class... Options>
std::unique_ptr<Flow> make(Options... options) {
  return std::make_unique<F>(options...);
}

std::unique_ptr<Flow> learnable(Real alpha_logit) {
  auto flow = make<LearnableLeakyReLU>();
  flow->parameters()[0].parameter->set(Tensor({1}, {alpha_logit}));
  return flow;
}

struct Case {
  std::string name;
  std::unique_ptr<Flow> flow;
};

std::vector<Case> all_activations() {
  std::vector<Case> all;
  all.push_back({"identity", make<Identity>()});
  for (double slope : {0.01, 0.3, 1.0, 2.5})
    all.push_back({"leaky ReLU, slope " + std::to_string(slope), make<LeakyReLU>(slope)});
  for (Real logit : {-3, 0, 1})
    all.push_back({"learnable leaky ReLU, " + std::to_string(logit), learnable(logit)});
  for (double alpha : {0.01, 0.3, 0.9, 1.0})
    all.push_back(
        {"smooth leaky ReLU, alpha " + std::to_string(alpha), make<SmoothLeakyReLU>(alpha)});
  for (double alpha : {0.5, 1.0, 3.0})
    all.push_back({"smooth tanh, alpha " + std::to_string(alpha), make<SmoothTanh>(alpha, 0.1)});
  all.push_back({"smooth tanh, beta 2", make<SmoothTanh>(1, 2)});
  return all;
}

Tensor inverse(const Flow& flow, Real z) { return flow.inverse(Tensor({1, 1}, {z})); }

// Away from 0, where some have a kink that differences must not meet.
Tensor points(const Shape& shape) {
  return pointwise(Random(3).normal(shape),
                   [](Real x) { return 2 * x + std::copysign(Real(0.2), x); });
}

TEST(Activations, AreFlows) {
  const Tensor extremes({2, 10}, {0,   -1e-37, 1e-37, -1e-9, 1e-9, -40,  40,    -90,   90,   -750,
                                  750, -1e4,   1e4,   -1e9,  1e9,  1e30, -1e30, 1e-20, -0.0, 1});
  for (const Case& c : all_activations())
    for (const Shape& shape : {Shape{4, 7}, Shape{3, 2, 1, 3}, Shape{5}, Shape{1, 1}})
      check_flow(c.name, *c.flow, points(shape), extremes);
}

TEST(Activations, OfNoExamplesAreEmpty) {
  for (const Case& c : all_activations()) {
    const Out out = c.flow->forward(Tensor::empty({0, 3}));
    EXPECT_EQ(out.z.shape(), Shape({0, 3})) << c.name;
    EXPECT_EQ(out.logdet.shape(), Shape{0}) << c.name;
    EXPECT_EQ(c.flow->inverse(out.z.value()).shape(), Shape({0, 3})) << c.name;
  }
}

TEST(Activations, KeepNaNAndInfinity) {
  for (const Case& c : all_activations()) {
    EXPECT_TRUE(std::isnan(c.flow->forward(Tensor({1, 1}, {nan})).z.item())) << c.name;
    EXPECT_TRUE(std::isnan(inverse(*c.flow, nan).item())) << c.name;
    EXPECT_EQ(inverse(*c.flow, inf).item(), inf) << c.name;
    EXPECT_EQ(inverse(*c.flow, -inf).item(), -inf) << c.name;
  }
}

TEST(Identity, SharesItsInput) {
  const Var x = Var::leaf(Tensor({2, 2}, {1, 2, 3, 4}));
  const Out out = Identity().forward(x);
  EXPECT_EQ(out.z.value().data(), x.value().data());
  EXPECT_EQ(out.logdet.value().values(), std::vector<Real>(2, 0));
}

TEST(LeakyReLU, LogdetCountsTheNegatives) {
  const Out out = LeakyReLU(0.25).forward(Tensor({2, 3}, {-4, 0, 8, -4, -8, 8}));
  EXPECT_EQ(out.z.value().values(), (std::vector<Real>{-1, 0, 8, -1, -2, 8}));
  EXPECT_EQ(out.logdet.value()[0], static_cast<Real>(std::log(0.25)));
  EXPECT_EQ(out.logdet.value()[1], static_cast<Real>(2 * std::log(0.25)));
}

// s(x) = x for x >= 0: at the kink itself the derivative is that of the right side, and so says the
// logdet.
TEST(LeakyReLU, HasTheSlopeOneAtItsKinkAndSoHasTheLearnableOne) {
  const Var x = Var::leaf(Tensor({1, 2}, {0, Real(-0.0)}));
  std::vector<std::unique_ptr<Flow>> both;
  both.push_back(make<LeakyReLU>(0.25));
  both.push_back(learnable(-3));
  for (const auto& flow : both) {
    const Out out = flow->forward(x);
    EXPECT_EQ(backward(sum(out.z))[x].values(), (std::vector<Real>{1, 1}));
    EXPECT_EQ(out.logdet.item(), 0);
  }
}

TEST(LearnableLeakyReLU, SlopeIsBetweenOneHalfAndThreeHalves) {
  for (const auto& [logit, slope] :
       std::vector<std::pair<Real, Real>>{{-1000, 0.5}, {0, 1}, {1000, 1.5}})
    EXPECT_EQ(learnable(logit)->forward(Tensor({1, 1}, {-2})).z.item(), -2 * slope);
}

TEST(LearnableLeakyReLU, ItsParameterIsNamedAsInTheStateDict) {
  EXPECT_EQ(names_of(LearnableLeakyReLU()), std::vector<std::string>{"alpha_logit"});
}

// ---- Inverses that are found by iteration -----------------------------------------------------

// An increasing function, its slope and a lower bound of it.
struct Increasing {
  std::unique_ptr<Flow> flow;
  std::function<long double(long double)> value;
  std::function<double(double)> slope;
  double least_slope;
};

Increasing smooth_leaky_relu(double a) {
  return {make<SmoothLeakyReLU>(a),
          [a](long double x) {
            return a * x + (1 - a) * (std::max(x, 0.0L) + std::log1p(std::exp(-std::abs(x))));
          },
          [a](double x) { return a + (1 - a) / (1 + std::exp(-x)); }, a};
}

Increasing smooth_tanh(double a, double b) {
  return {make<SmoothTanh>(a, b), [a, b](long double x) { return std::tanh(a * x) + b * x; },
          [a, b](double x) { return b + a * (1 - std::pow(std::tanh(a * x), 2)); }, b};
}

std::vector<Increasing> all_increasing() {
  std::vector<Increasing> all;
  for (double a : {1e-6, 0.01, 0.3, 0.9, 1.0}) all.push_back(smooth_leaky_relu(a));
  for (double a : {0.1, 1.0, 30.0})
    for (double b : {0.01, 0.1, 3.0}) all.push_back(smooth_tanh(a, b));
  return all;
}

double root_by_bisection(const Increasing& s, long double y) {
  long double low = -1, high = 1;
  while (s.value(low) > y) low *= 2;
  while (s.value(high) < y) high *= 2;
  for (;;) {
    const long double middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) return static_cast<double>(low);
    (s.value(middle) < y ? low : high) = middle;
  }
}

std::vector<Real> wide_range_of_numbers() {
  std::vector<Real> all = {0, 5e-324, -3e-310, 0.86, -0.86025};  // the last two: Newton cycles
  for (Real y : (Random(5).normal({1, 300}) * 4).values()) all.push_back(y);
  for (int exponent = -30; exponent <= 30; ++exponent)
    for (double digits : {1.0, -1.0, 3.7, -7.3}) all.push_back(digits * std::pow(10, exponent));
  return all;
}

// As well as s(x), a sum of two terms in double, allows: 4 roundings of it.
TEST(SolvedInverse, IsRightToTheLastBits) {
  for (const Increasing& s : all_increasing())
    for (Real y : wide_range_of_numbers()) {
      const double expected = root_by_bisection(s, y), x = inverse(*s.flow, y).item();
      if (std::abs(expected) > Limits::max()) continue;
      const double terms = std::abs(y) + s.least_slope * std::abs(expected);
      const double rounding = 4 * Double::epsilon() * terms + Double::denorm_min();
      const double bound = rounding / s.slope(expected) + Limits::epsilon() * std::abs(expected) +
                           Limits::denorm_min();
      EXPECT_NEAR(x, expected, bound) << y;
    }
}

TEST(SolvedInverse, ReachesTheLargestNumbers) {
  for (const Increasing& s : all_increasing())
    for (Real y : {Limits::max(), -Limits::max(), Limits::max() / 8, -Limits::max() / 8}) {
      const Real x = inverse(*s.flow, y).item(), most = std::copysign(Limits::max(), y);
      if (std::isfinite(x)) {
        EXPECT_NEAR(s.value(x) / y, 1, 4 * Limits::epsilon());
      } else {
        EXPECT_EQ(x, std::copysign(inf, y));
        EXPECT_LE(s.value(most) / y, 1 + Limits::epsilon()) << "the root can be represented";
      }
    }
}

TEST(SolvedInverse, HasTheSameBitsInAnyBatch) {
  const Tensor z = Random(6).normal({700, 3}) * 10;
  for (const Increasing& s : all_increasing()) {
    const Tensor x = s.flow->inverse(z);
    for (Index i = 0; i < z.size(); i += 97) EXPECT_EQ(x[i], inverse(*s.flow, z[i]).item());
  }
}

TEST(Activations, RefuseParametersThatCannotBeInverted) {
  const auto error = [](auto make_flow) { return error_of(make_flow); };
  EXPECT_EQ(error([] { LeakyReLU(0); }),
            "[leaky_relu] the slope must be positive and finite, got 0");
  EXPECT_EQ(error([] { LeakyReLU(-0.5); }),
            "[leaky_relu] the slope must be positive and finite, got -0.5");
  EXPECT_EQ(error([] { LeakyReLU{double{nan}}; }),
            "[leaky_relu] the slope must be positive and finite, got nan");
  EXPECT_EQ(error([] { LeakyReLU{double{inf}}; }),
            "[leaky_relu] the slope must be positive and finite, got inf");
  EXPECT_EQ(error([] { SmoothTanh(1, inf); }),
            "[smooth_tanh] alpha and beta must be positive and finite, got 1 and inf");
  for (const auto& [alpha, text] : std::vector<std::pair<double, std::string>>{
           {0, "0"}, {-0.3, "-0.3"}, {1.5, "1.5"}, {nan, "nan"}})
    EXPECT_EQ(error([a = alpha] { SmoothLeakyReLU{a}; }),
              "[smooth_leaky_relu] alpha must be above 0 and at most 1, got " + text);
  EXPECT_EQ(error([] { SmoothTanh(0, 1); }),
            "[smooth_tanh] alpha and beta must be positive and finite, got 0 and 1");
  EXPECT_EQ(error([] { SmoothTanh(1, -2); }),
            "[smooth_tanh] alpha and beta must be positive and finite, got 1 and -2");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

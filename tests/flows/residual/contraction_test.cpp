#include "backflow/flows/residual/contraction.h"

#include "backflow/engine/backward.h"
#include "backflow/ops/finite.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/ops/reduce.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Kind = Contraction::Kind;

struct Case {
  const char* name;
  Kind kind;
  long double (*value)(long double a, long double b);
  long double (*slope)(long double a, long double b);
};

long double logistic(long double t) { return 1 / (1 + std::exp(-t)); }

const std::vector<Case> cases = {
    {"lipswish", Kind::lipswish,
     [](long double a, long double b) { return a * logistic(b * a) / 1.1L; },
     [](long double a, long double b) {
       const long double s = logistic(b * a);
       return (s + b * a * s * (1 - s)) / 1.1L;
     }},
    {"elu", Kind::elu, [](long double a, long double) { return a > 0 ? a : std::expm1(a); },
     [](long double a, long double) { return a > 0 ? 1 : std::exp(a); }},
    {"tanh", Kind::tanh, [](long double a, long double) { return std::tanh(a); },
     [](long double a, long double) { return 1 - std::tanh(a) * std::tanh(a); }},
    {"sin", Kind::sin, [](long double a, long double) { return std::sin(a); },
     [](long double a, long double) { return std::cos(a); }},
};

// Away from 0, where the slope of ELU has a kink.
Tensor points(const Shape& shape) {
  return pointwise(Random(3).normal(shape),
                   [](Real x) { return 2 * x + std::copysign(Real(0.2), x); });
}

TEST(Contraction, HasTheValueAndSlopeOfItsFormula) {
  for (const Case& c : cases)
    for (const double beta : {-3.0, 0.5, 2.0}) {
      Contraction phi(c.kind);
      for (const auto& [name, parameter] : phi.parameters())
        parameter->set(Tensor({1}, {static_cast<Real>(beta)}));
      const long double b = std::log1p(std::exp(static_cast<long double>(beta)));
      const Tensor a = points({9001});  // more than one chunk of a loop
      const auto [value, slope] = phi(a);
      constexpr double tolerance = in_double ? 1e-14 : 2e-6;
      for (Index i = 0; i < a.size(); ++i) {
        ASSERT_NEAR(value.value()[i], c.value(a[i], b), tolerance * (1 + std::abs(a[i]))) << c.name;
        ASSERT_NEAR(slope.value()[i], c.slope(a[i], b), tolerance) << c.name;
      }
    }
}

TEST(Contraction, GradientsOfValueAndSlopeAreDifferences) {
  for (const Case& c : cases) {
    const Contraction phi(c.kind);
    const VarFunction f = [&](const std::vector<Var>& in) {
      const auto [value, slope] = phi(in[0]);
      return std::vector{value, slope};
    };
    for (const Shape& shape : {Shape{}, Shape{7}, Shape{3, 1, 5}}) {
      const auto report = gradcheck(f, {points(shape)});
      EXPECT_TRUE(report) << c.name << ": " << report.failure;
    }
  }
}

TEST(Contraction, SlopeIsTheGradientOfTheValue) {
  for (const Case& c : cases) {
    const Contraction phi(c.kind);
    const Var a = Var::leaf(points({50}));
    const auto [value, slope] = phi(a);
    expect_close(backward(sum(value))[a], slope.value(), 0, c.name);
  }
}

TEST(Contraction, NeverStretches) {
  for (const Case& c : cases)
    for (const Real beta : {-20, -2, 0, 1, 30}) {
      Contraction phi(c.kind);
      for (const auto& [name, parameter] : phi.parameters()) parameter->set(Tensor({1}, {beta}));
      std::vector<Real> all;
      for (int i = -20000; i <= 20000; ++i) all.push_back(static_cast<Real>(i) / 500);
      const auto slope = phi(Tensor({std::ssize(all)}, all))[1].value();
      EXPECT_LE(max(slope).item(), 1) << c.name;
      EXPECT_GE(min(slope).item(), -1) << c.name;
      if (c.kind != Kind::lipswish || beta > -2) {
        EXPECT_GT(max(slope).item(), 0.9) << c.name << ": as steep as it may be";
      }
    }
}

TEST(Contraction, IsFiniteAtExtremeInputs) {
  const Tensor extremes({12},
                        {0, -0.0, 1e-37, -1e-37, -1e-9, 40, -90, 750, -750, 1e9, 1e30, -1e30});
  for (const Case& c : cases)
    for (const Real beta : {-50, 0, 50}) {
      Contraction phi(c.kind);
      for (const auto& [name, parameter] : phi.parameters()) parameter->set(Tensor({1}, {beta}));
      const Var a = Var::leaf(extremes);
      const auto [value, slope] = phi(a);
      const Gradients gradients = backward(sum(value) + sum(slope));
      EXPECT_TRUE(all_finite(value.value()) && all_finite(slope.value())) << c.name;
      EXPECT_TRUE(all_finite(gradients[a])) << c.name;
      for (const auto& [name, parameter] : phi.parameters())
        EXPECT_TRUE(all_finite(gradients[*parameter])) << c.name << " " << name;
    }
}

TEST(Contraction, EluKeepsTheDigitsOfSmallNumbers) {
  const Real a = Real(-1e-6);
  const auto value = Contraction(Kind::elu)(Tensor({1}, {a}))[0].value();
  EXPECT_NEAR(value.item(), std::expm1(a), 4 * std::numeric_limits<Real>::epsilon() * 1e-6);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/ops/gradcheck.h"

#include <cmath>
#include <limits>

#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Tensor positive(const Shape& shape) {
  return pointwise(Random(11).uniform(shape), [](Real u) { return u + Real(0.5); });
}

// x^2, with 1 + error times its gradient.
Var square_with_error(const Var& x, double error) {
  return override_gradient(
      "square", x.value() * x.value(), {x},
      [X = x.value(), error](const Tensor& g) { return Tensor(Real(2 * (1 + error))) * g * X; });
}

void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << text;
}

TEST(Gradcheck, PassesARightGradient) {
  const GradcheckReport report =
      gradcheck([](const Var& x) { return exp(square(x)); }, positive({3, 5}));
  EXPECT_TRUE(report) << report.failure;
  EXPECT_LE(report.worst_error, in_double ? 1e-7 : 0.02);
  EXPECT_GT(report.worst_error, 0);
}

TEST(Gradcheck, PassesSeveralInputsThatBroadcastAndSeveralOutputs) {
  const GradcheckReport report = gradcheck(
      [](const std::vector<Var>& in) {
        const Var sum = in[0] + in[1];
        return std::vector{sum * in[2], in[0] / sum};
      },
      {positive({4, 3}), positive({3}), positive({})});
  EXPECT_TRUE(report) << report.failure;
}

TEST(Gradcheck, FindsAPlantedWrongGradientByDifferences) {
  const std::vector<double> errors = in_double ? std::vector{1e-5, -1e-5, -1.0, 1.0, -2.0, -1e6}
                                               : std::vector{0.05, -0.05, -1.0, 1.0, -2.0, -1e6};
  for (double error : errors) {
    const GradcheckReport report =
        gradcheck([error](const Var& x) { return square_with_error(x, error); }, positive({3, 5}));
    EXPECT_FALSE(report) << "error " << error;
    expect_contains(report.failure, "input 0, direction 0: the derivative is ");
    expect_contains(report.failure, in_double ? "allowed 1e-07" : "allowed 0.02");
    EXPECT_GT(report.worst_error, in_double ? 1e-6 : 0.02);
  }
}

// The three mistakes that people make, and the right gradient, wherever the random numbers lead.
struct Smooth {
  const char* name;
  Real (*value)(Real), (*derivative)(Real), (*with_a_term_missing)(Real);
};
const Smooth smooth_ops[] = {
    {"tanh", [](Real x) { return std::tanh(x); },
     [](Real x) { return 1 - std::tanh(x) * std::tanh(x); }, [](Real) { return Real(1); }},
    {"x exp(x)", [](Real x) { return x * std::exp(x); },
     [](Real x) { return (1 + x) * std::exp(x); }, [](Real x) { return std::exp(x); }},
    {"silu", [](Real x) { return x / (1 + std::exp(-x)); },
     [](Real x) {
       const Real s = 1 / (1 + std::exp(-x));
       return s * (1 + x * (1 - s));
     },
     [](Real x) { return 1 / (1 + std::exp(-x)); }}};

TEST(Gradcheck, TellsRightFromWrongAtEverySeed) {
  for (const Smooth& op : smooth_ops)
    for (std::uint64_t seed = 0; seed < 50; ++seed) {
      const Tensor x = Random(seed).normal({3, 17});
      GradcheckOptions options;
      options.seed = seed;
      const auto passes = [&](Real (*derivative)(Real), Real factor) {
        const auto f = [&](const Var& x) {
          return override_gradient(
              "f", pointwise(x.value(), op.value), {x}, [=, X = x.value()](const Tensor& g) {
                return pointwise(X, [=](Real x) { return factor * derivative(x); }) * g;
              });
        };
        return static_cast<bool>(gradcheck(f, x, options));
      };
      EXPECT_TRUE(passes(op.derivative, 1)) << op.name << ", seed " << seed;
      EXPECT_FALSE(passes(op.derivative, Real(1.05))) << op.name << ", seed " << seed;
      EXPECT_FALSE(passes(op.derivative, -1)) << op.name << ", seed " << seed;
      EXPECT_FALSE(passes(op.with_a_term_missing, 1)) << op.name << ", seed " << seed;
    }
}

TEST(Gradcheck, ThatComparedNothingFails) {
  const auto same = [](const Var& x) { return square(x); };
  GradcheckOptions no_directions;
  no_directions.directions = 0;
  expect_contains(gradcheck(same, Tensor::empty({0, 3})).failure, "nothing was compared");
  expect_contains(gradcheck(same, positive({3}), no_directions).failure, "nothing was compared");
  const auto empty = [](const std::vector<Var>& in) { return std::vector{slice(in[0], 0, 1, 1)}; };
  expect_contains(gradcheck(empty, {positive({3})}).failure, "nothing was compared");
}

#ifdef BACKFLOW_DOUBLE  // in float one wrong element among a hundred is lost in the others
TEST(Gradcheck, FindsOneWrongElementOfOneInput) {
  const GradcheckReport report = gradcheck(
      [](const std::vector<Var>& in) {
        const Var wrong = override_gradient("identity", in[1].value(), {in[1]}, [](Tensor g) {
          g.mutable_data()[7] *= 1 + 1e-4;
          return g;
        });
        return std::vector{in[0] * wrong};
      },
      {positive({100}), positive({100})});
  expect_contains(report.failure, "input 1, ");
}
#endif

TEST(Gradcheck, FindsAForgottenInput) {
  EXPECT_FALSE(gradcheck([](const Var& x) { return x * x.detach(); }, positive({4})));
  EXPECT_FALSE(
      gradcheck([](const Var& x) { return Var(square(x).value()) + x * Real(0); }, positive({4})));
}

TEST(Gradcheck, FindsAGradientThatDependsOnTheThreads) {
  const auto f = [](const Var& x) {
    return override_gradient("identity", x.value(), {x}, [](const Tensor& g) {
      return g * Tensor(1 + std::numeric_limits<Real>::epsilon() * Real(threads() - 1));
    });
  };
  EXPECT_EQ(gradcheck(f, positive({4})).failure,
            "input 0: the gradient on 3 threads is not that on 1");
}

TEST(Gradcheck, FindsALeakedTensor) {
  std::vector<Tensor> leaked;
  const Index block = [] {
    const Index before = memory_use().live_bytes;
    const Tensor x = Tensor::zeros({50});
    return memory_use().live_bytes - before;
  }();
  const auto f = [&leaked](const Var& x) {
    if (leaked.empty()) leaked.push_back(Tensor::zeros({50}));
    return square(x);
  };
  EXPECT_EQ(gradcheck(f, positive({4})).failure,
            std::to_string(block) + " bytes of Tensors leaked");
}

TEST(Gradcheck, FindsAGradientThatIsNotFinite) {
  const GradcheckReport report =
      gradcheck([](const Var& x) { return sqrt(x); }, Tensor({2}, {0, 1}));
  EXPECT_EQ(report.failure, "input 0: the gradient is not finite");
}

TEST(Gradcheck, LeavesTheNumberOfThreadsAlone) {
  const WithThreads with(2);
  gradcheck([](const Var& x) { return square(x); }, positive({4}));
  EXPECT_EQ(threads(), 2);
}

TEST(Gradcheck, LeavesTheNumberOfThreadsAloneWhenTheFunctionThrows) {
  const WithThreads with(2);
  for (int throws_on : {1, 3}) {
    const auto f = [&](const Var& x) {
      if (threads() == throws_on) fail("f", "does not work");
      return square(x);
    };
    EXPECT_THROW(gradcheck(f, positive({4})), Error);
    EXPECT_EQ(threads(), 2);
  }
}

TEST(Gradcheck, HoldsForElementsOfVeryDifferentSizes) {
  const GradcheckReport report =
      gradcheck([](const Var& x) { return square(x); }, Tensor({4}, {1e-6, 1, 1000, -1e4}));
  EXPECT_TRUE(report) << report.failure;
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

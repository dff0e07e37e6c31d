#include "engine/gradcheck.h"

#include <gtest/gtest.h>

#include <limits>

#include "engine/parallel.h"
#include "engine/random.h"
#include "ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr bool compares_with_differences = sizeof(Real) == sizeof(double);

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
  EXPECT_LE(report.worst_error, 1e-7);
  EXPECT_EQ(report.worst_error > 0, compares_with_differences);
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
  for (double error : {1e-5, -1e-5, -1.0, 1.0, -2.0}) {
    const GradcheckReport report =
        gradcheck([error](const Var& x) { return square_with_error(x, error); }, positive({3, 5}));
    EXPECT_EQ(static_cast<bool>(report), !compares_with_differences) << "error " << error;
    if (!compares_with_differences) continue;
    expect_contains(report.failure, "input 0, direction 0: the derivative is ");
    expect_contains(report.failure, "allowed 1e-07");
    EXPECT_GT(report.worst_error, 1e-6);
  }
}

#ifdef BACKFLOW_DOUBLE  // differences in float prove nothing
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

TEST(Gradcheck, FindsAForgottenInput) {
  EXPECT_FALSE(gradcheck([](const Var& x) { return x * x.detach(); }, positive({4})));
  EXPECT_FALSE(
      gradcheck([](const Var& x) { return Var(square(x).value()) + x * Real(0); }, positive({4})));
}
#endif

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
  const int before = threads();
  set_threads(2);
  gradcheck([](const Var& x) { return square(x); }, positive({4}));
  EXPECT_EQ(threads(), 2);
  set_threads(before);
}

TEST(Gradcheck, HoldsForElementsOfVeryDifferentSizes) {
  const GradcheckReport report =
      gradcheck([](const Var& x) { return square(x); }, Tensor({4}, {1e-6, 1, 1000, -1e4}));
  EXPECT_TRUE(report) << report.failure;
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

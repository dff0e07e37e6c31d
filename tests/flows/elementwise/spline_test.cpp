#include "backflow/flows/elementwise/spline.h"

#include <limits>

#include "backflow/tests/flows/check_flow.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

SplineActivation make_spline(const Shape& example, Index bins, double scale) {
  Shape all{1}, inner{1};
  for (Index size : example) all.push_back(size), inner.push_back(size);
  all.push_back(bins), inner.push_back(bins - 1);
  const Real s = static_cast<Real>(scale);
  return {Random(1).normal(all) * s, Random(2).normal(all) * s, Random(3).normal(inner) * s};
}

SplineActivation make_shared_spline(Index bins, double scale) {
  const Real s = static_cast<Real>(scale);
  return {Random(1).normal({bins}) * s, Random(2).normal({bins}) * s,
          Random(3).normal({bins - 1}) * s};
}

// In the middle of each of five bins of nearly the same width, and beyond both ends: a finite
// difference must not meet a knot, where the second derivative jumps.
Tensor points(const Shape& shape) {
  Tensor x = Random(4).uniform(shape);
  for (Index i = 0; i < x.size(); ++i) {
    Real& at = x.mutable_data()[i];
    at = static_cast<Real>(4 * (i % 7 - 3) + 0.2 * (at - 0.5));
  }
  return x;
}

const Tensor extremes({2, 10},
                      {0,  -1e-37, 1e-37, -10, 10,  -9.9999, 9.9999, -10.0001, 10.0001, 1,
                       -1, 750,    -1e4,  1e4, 1e9, -1e9,    1e30,   -1e30,    5,       -5});

TEST(SplineActivation, IsAFlow) {
  for (const Shape& shape : {Shape{3, 2, 3, 3}, Shape{1, 7}, Shape{8, 1}, Shape{7}}) {
    const Shape example(shape.begin() + 1, shape.end());
    check_flow("individual", make_spline(example, 5, 0.2), points(shape), points(shape) * 1e30);
    check_flow("shared", make_shared_spline(5, 0.1), points(shape), extremes);
  }
  check_flow("two bins", make_spline({7}, 2, 0.2), points({2, 7}) + 1.2, points({3, 7}));
}

TEST(SplineActivation, IsFiniteForHugeParameters) {
  for (double scale : {10, 50}) {
    check_finite(make_spline({10}, 5, scale), extremes, {});
    check_finite(make_shared_spline(5, scale), extremes, {});
  }
}

TEST(SplineActivation, OfNoExamplesIsEmpty) {
  const SplineActivation flow = make_shared_spline(5, 1);
  const Out out = flow.forward(Tensor::empty({0, 3}));
  EXPECT_EQ(out.z.shape(), Shape({0, 3}));
  EXPECT_EQ(out.logdet.shape(), Shape{0});
  EXPECT_EQ(flow.inverse(out.z.value()).shape(), Shape({0, 3}));
}

// What it keeps of its parameters is no older than they are.
TEST(SplineActivation, FollowsEachOfItsParameters) {
  const Tensor x = points({4, 3});
  for (std::size_t moved = 0; moved < 3; ++moved) {
    SplineActivation flow = make_spline({3}, 5, 0.2);
    const auto parameters = flow.parameters();
    const auto values = [&] { return flow.forward(x).z.value().values(); };
    const auto before = values();
    EXPECT_EQ(values(), before);
    parameters[moved].parameter->update([](std::span<Real> p) { p[2] += Real(0.5); });
    const SplineActivation fresh(parameters[0].parameter->value(), parameters[1].parameter->value(),
                                 parameters[2].parameter->value());
    EXPECT_NE(values(), before) << parameters[moved].name;
    EXPECT_EQ(values(), fresh.forward(x).z.value().values());
    EXPECT_EQ(flow.inverse(x).values(), fresh.inverse(x).values());
  }
}

TEST(SplineActivation, KeepsNaNAndInfinity) {
  constexpr Real nan = std::numeric_limits<Real>::quiet_NaN();
  constexpr Real inf = std::numeric_limits<Real>::infinity();
  const SplineActivation flow = make_shared_spline(5, 1);
  const Tensor x({2, 2}, {nan, 1, inf, -inf});
  const Out out = flow.forward(x);
  for (const Tensor& t : {out.z.value(), flow.inverse(x)}) {
    EXPECT_TRUE(std::isnan(t[0]));
    EXPECT_TRUE(std::isfinite(t[1]));
    EXPECT_EQ(t[2], inf);
    EXPECT_EQ(t[3], -inf);
  }
  EXPECT_TRUE(std::isnan(out.logdet.value()[0]));
  EXPECT_EQ(out.logdet.value()[1], 0);
}

TEST(SplineActivation, ItsParametersAreNamedAsInTheStateDict) {
  EXPECT_EQ(names_of(make_shared_spline(5, 1)),
            (std::vector<std::string>{"unnormalized_widths", "unnormalized_heights",
                                      "unnormalized_derivatives"}));
}

TEST(SplineActivation, RefusesParametersThatDoNotBelongTogether) {
  const auto error = [](const Shape& w, const Shape& h, const Shape& d) {
    return error_of(
        [&] { SplineActivation(Tensor::zeros(w), Tensor::zeros(h), Tensor::zeros(d)); });
  };
  EXPECT_EQ(error({1, 3, 5}, {1, 3, 4}, {1, 3, 4}),
            "[spline_activation] expected widths (..., K), heights (..., K), derivatives "
            "(..., K - 1); they are (1, 3, 5), (1, 3, 4), (1, 3, 4)");
  EXPECT_NE(error({5}, {5}, {5}), "no error");
  EXPECT_NE(error({}, {}, {}), "no error");
  EXPECT_EQ(error({5}, {5}, {4}), "no error");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

// What holds for every transform of one element.
#pragma once

#include "backflow/flows/transforms/transform.h"
#include "backflow/tests/flows/check_zoo.h"

namespace backflow::inline BACKFLOW_PRECISION {

// A transform with given parameters (B, D, K), as a flow of batches of B examples that has them as
// a parameter "p".
struct TransformFlow : Flow {
  TransformFlow(Transform& transform, const Tensor& p)
      : transform(transform), p(add_parameter("p", p)) {
    add_module("transform", transform);
  }
  Out forward(const Var& x, Pass&) const override {
    const auto [z, log_slope] = transform.forward(x, p);
    return {z, sum_examples(log_slope)};
  }
  Tensor inverse(const Tensor& z, Pass&) const override { return transform.inverse(z, p.value()); }
  Out inverse_recorded(const Var& z, Pass&) const override {
    const auto [x, log_slope] = invert(transform, z, p);
    return {x, sum_examples(log_slope)};
  }
  using Flow::forward, Flow::inverse;
  Transform& transform;
  Parameter& p;
};

// x -> z -> x and z -> x -> z, by the error that each makes in z where the transform is steep or
// flat.
inline void check_both_ways(const Transform& transform, const Tensor& x, const Tensor& p) {
  const double tolerance = in_double ? 1e-9 : 1e-4;
  const NoGrad no_grad;
  const Tensor z = transform.forward(x, p)[0].value();
  ASSERT_TRUE(all_finite(z));
  if (in_double) expect_close(transform.inverse(z, p), x, tolerance, "inverse(forward(x))");
  for (const Tensor& target : {z, x})
    expect_close(transform.forward(transform.inverse(target, p), p)[0].value(), target, tolerance,
                 "forward(inverse(z))");
}

inline void check_examples_alone(const Transform& transform, const Tensor& x, const Tensor& p) {
  const double tolerance = in_double ? 1e-12 : 1e-5;
  const auto [z, log_slope] = transform.forward(x, p);
  for (Index b = 0; b < x.size(0); ++b) {
    const auto row = [b](const Tensor& of) { return slice(of, 0, b, b + 1); };
    const auto [z1, log_slope1] = transform.forward(row(x), row(p));
    expect_close(z1.value(), row(z.value()), tolerance, "z of one example");
    expect_close(log_slope1.value(), row(log_slope.value()), tolerance, "log-slope of one example");
  }
}

inline void check_shapes(const Transform& transform) {
  const Index K = transform.parameters();
  EXPECT_EQ(transform.initial(Random(1)).shape(), Shape{K});
  const auto fails = [&](const Shape& x, const Shape& p) {
    const auto forward = [&] { transform.forward(Tensor::zeros(x), Tensor::zeros(p)); };
    const auto inverse = [&] { transform.inverse(Tensor::zeros(x), Tensor::zeros(p)); };
    return error_of(forward) != "no error" && error_of(inverse) != "no error";
  };
  EXPECT_TRUE(fails({2, 3}, {2, 3, K + 1}));
  EXPECT_TRUE(fails({2, 3}, {2, 4, K}));
  EXPECT_TRUE(fails({2, 3}, {1, 3, K}));
  EXPECT_TRUE(fails({3}, {3, K}));
  const auto [z, log_slope] = transform.forward(Tensor::zeros({0, 3}), Tensor::zeros({0, 3, K}));
  EXPECT_EQ(z.shape(), (Shape{0, 3}));
  EXPECT_EQ(log_slope.shape(), (Shape{0, 3}));
  EXPECT_EQ(transform.inverse(Tensor::zeros({0, 3}), Tensor::zeros({0, 3, K})).shape(),
            (Shape{0, 3}));
}

// For D = 1, 2 and 5, at random parameters of that size about the initial ones, and x out to
// `reach` standard deviations.
inline void check_transform(const std::string& name, Transform& transform, double size = 0.7,
                            double reach = 50) {
  check_shapes(transform);
  const Index K = transform.parameters();
  for (Index D : {1, 2, 5}) {
    SCOPED_TRACE(name + " of D = " + std::to_string(D));
    const auto parameters = [&](Index B, std::uint64_t seed) {
      return Random(seed).normal({B, D, K}) * static_cast<Real>(size) +
             transform.initial(Random(seed));
    };
    TransformFlow flow(transform, parameters(4, 1));
    check_flow(name, flow, Random(2).normal({4, D}), Random(2).normal({4, D}) * 100);
    check_recorded_inverse(flow, Random(2).normal({4, D}));
    check_examples_alone(transform, Random(2).normal({4, D}), parameters(4, 1));
    const Index many = 200;
    const Tensor x = Random(3).uniform({many, D}) * static_cast<Real>(2 * reach) -
                     Tensor(static_cast<Real>(reach));
    check_both_ways(transform, x, parameters(many, 4));
    TransformFlow wide(transform, parameters(3000, 5));
    check_threads(wide, Random(6).normal({3000, D}));
  }
}

inline void check_begins_as_identity(const Transform& transform) {
  const Tensor x = Random(1).normal({3, 2}) * 5, p = initial_parameters(transform, 6, Random(2));
  const auto [z, log_slope] = transform.forward(x, p.reshape({3, 2, transform.parameters()}));
  const double tolerance = in_double ? 1e-12 : 1e-5;
  expect_close(z.value(), x, tolerance, "z at the initial parameters");
  expect_close(log_slope.value(), Tensor::zeros({3, 2}), tolerance, "its log-slope");
}

}  // namespace backflow::inline BACKFLOW_PRECISION

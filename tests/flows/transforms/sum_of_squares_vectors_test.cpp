#include "backflow/ops/polynomial.h"
#include "backflow/tests/flows/vectors.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Of the file: a is (B, K, R + 1, D), c (D).
struct SosElement : Flow {
  explicit SosElement(Vectors& vectors)
      : a(add_parameter("a", vectors["param.a"])), c(add_parameter("c", vectors["param.c"])) {}
  Out forward(const Var& x, Pass&) const override {
    const auto [z, log_slope] = sum_of_squares(x, permute(a, {0, 3, 1, 2}));
    return {z + c, sum_examples(log_slope)};
  }
  Tensor inverse(const Tensor& z, Pass&) const override {
    return sum_of_squares_inverse(z - c.value(), permute(a.value(), {0, 3, 1, 2}));
  }
  using Flow::forward, Flow::inverse;
  Parameter &a, &c;
};

TEST(ZooVectors, SumOfSquares) {
  Vectors vectors("zoo/sos_element");
  const SosElement flow(vectors);
  expect_zoo_flow(vectors, flow);
  // The reference adds 1e-8 inside the logarithm.
  const Tensor slopes =
      sum_of_squares(vectors["x"], permute(flow.a.value(), {0, 3, 1, 2}))[1].value();
  vectors.expect("logdet_reference", sum_examples(log(exp(Var(slopes)) + 1e-8)).value());
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

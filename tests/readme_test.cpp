// The README's examples, as they stand there. (tests/strangers/run.sh builds its program, and
// tests/apps/snf/snf_experiments_test.cpp runs its commands.)
#include <gtest/gtest.h>

#include <cmath>
#include <numbers>

#include "backflow/engine/backward.h"
#include "backflow/engine/optimizer.h"
#include "backflow/flows/autoregressive/neural_spline.h"
#include "backflow/flows/density.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

#include "add_op.inc"
#include "override.inc"

// A row of the table in pointwise_test.cpp.
struct Row {
  const char* name;
  Var (*op)(const Var&);
  long double (*reference)(long double);
  double low, high;
};

const std::vector<Row> rows = {
#include "add_op_row.inc"
};

TEST(Readme, OpHasTheValuesAndTheGradientOfItsRow) {
  const Row& row = rows.at(0);
  const Tensor x = pointwise(Random(1).uniform({3, 17}),
                             [&](Real u) -> Real { return row.low + (row.high - row.low) * u; });
  const Tensor y = row.op(x).value();
  for (Index i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i], double(row.reference(x[i])), 1e-5);
  EXPECT_EQ(gradcheck(row.op, x).failure, "");
}

TEST(Readme, OverriddenGradientIsTheStandIn) {
  const Var W = Var::leaf(Tensor({2, 2}, {2, 1, 1, 4}));
  const Tensor R({2, 2}, {5, 6, 7, 8});
  EXPECT_EQ(backward(logabsdet_by(W, R))[W].values(), transpose(R).values());
}

// Two normal distributions around (-2, 0) and (2, 0), of standard deviation 1/2: less entropy than
// the one of their mean and variance has.
Tensor batch(std::uint32_t step) {
  Tensor x = Random(3).at_epoch(step).normal({256, 2}) * 0.5;
  for (Index i = 0; i < 256; ++i) x.set({i, 0}, x.at({i, 0}) + (i % 2 == 0 ? 2 : -2));
  return x;
}

TEST(Readme, FlowLearnsADensity) {
#include "zoo.inc"
  const double entropy = std::log(2 * std::numbers::pi * std::numbers::e * 0.25) + std::log(2);
  const double nll = -mean(density.log_prob(batch(1000))).item();
  EXPECT_GT(nll, entropy - 0.15);
  EXPECT_LT(nll, entropy + 0.3);  // that of one normal distribution is above by 0.7
  EXPECT_EQ(x.shape(), (Shape{1000, 2}));
  EXPECT_NEAR(-mean(log_prob).item(), nll, 0.3);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

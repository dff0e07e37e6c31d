// The README's examples, as they stand there.
#include <gtest/gtest.h>

#include "backflow/ops/gradcheck.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

#include "add_binary_op.inc"
#include "add_op.inc"
#include "add_op_test.inc"
#include "override.inc"
#include "override_test.inc"

TEST(Hypot, OfTheReadmeBroadcastsAndHasItsGradients) {
  const auto f = [](const std::vector<Var>& in) { return std::vector{hypot(in[0], in[1])}; };
  const std::vector<Tensor> inputs{Random(1).normal({3, 17}), Random(2).normal({17})};
  EXPECT_EQ(gradcheck(f, inputs).failure, "");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

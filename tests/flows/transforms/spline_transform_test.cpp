#include "backflow/flows/transforms/spline.h"
#include "backflow/tests/flows/transforms/check_transform.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// All that is compared with differences lies in the middle bin: they are wrong across a knot, where
// the slope has a bend. With other bins they are in tests/ops.
TEST(RationalQuadraticSplineTransform, IsATransform) {
  RationalQuadraticSpline transform(3, {.bound = 20});
  check_transform("spline", transform, 0.3);
}

TEST(RationalQuadraticSplineTransform, IsUndoneAcrossAllBins) {
  const RationalQuadraticSpline transform;
  const Tensor x = Random(1).normal({300, 5}) * 3;
  const Tensor p = Random(2).normal({300, 5, transform.parameters()}) * Real(0.7);
  check_both_ways(transform, x, p);
  check_examples_alone(transform, slice(x, 0, 0, 20), slice(p, 0, 0, 20));
}

TEST(RationalQuadraticSplineTransform, BeginsAsTheIdentity) {
  check_begins_as_identity(RationalQuadraticSpline());
}

TEST(RationalQuadraticSplineTransform, RefusesOptionsThatLeaveNoRoom) {
  EXPECT_EQ(error_of([] { RationalQuadraticSpline(0); }),
            "[rational_quadratic_spline] at least one bin expected, got 0");
  const std::string error = error_of([] { RationalQuadraticSpline(8, {.bound = -1}); });
  EXPECT_NE(error.find("no spline of 8 bins has bound -1"), std::string::npos) << error;
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/engine/shape.h"

#include <vector>

#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

std::string text(const Shape& shape) {
  std::ostringstream out;
  out << shape;
  return out.str();
}

// Every shape of up to three axes with sizes 0 to 3.
std::vector<Shape> small_shapes() {
  std::vector<Shape> all{{}};
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i].rank() == 3) continue;
    for (Index n = 0; n <= 3; ++n) {
      Shape longer = all[i];
      longer.push_back(n);
      all.push_back(longer);
    }
  }
  return all;
}

TEST(Shape, WithoutAxesHasOneElement) {
  EXPECT_EQ(Shape().rank(), 0);
  EXPECT_EQ(Shape().size(), 1);
}

TEST(Shape, SizeIsTheProductOfTheAxes) {
  EXPECT_EQ((Shape{2, 3, 4}.size()), 24);
  EXPECT_EQ((Shape{2, 0, 4}.size()), 0);
  EXPECT_EQ((Shape{Index{1} << 20, Index{1} << 20}.size()), Index{1} << 40);
}

TEST(Shape, NegativeAxesCountFromTheEnd) {
  Shape shape{2, 3, 4};
  EXPECT_EQ(shape[0], 2);
  EXPECT_EQ(shape[-1], 4);
  EXPECT_EQ(shape[-3], 2);
  shape[-2] = 7;
  EXPECT_EQ(shape, (Shape{2, 7, 4}));
}

TEST(Shape, EqualShapesAgreeInRankAndSizes) {
  EXPECT_TRUE((Shape{2, 3} == Shape{2, 3}));
  EXPECT_FALSE((Shape{2, 3} == Shape{3, 2}));
  EXPECT_FALSE((Shape{2} == Shape{2, 1}));
  EXPECT_FALSE((Shape{} == Shape{1}));
}

TEST(Shape, IsBuiltFromARange) {
  const std::vector<Index> sizes{5, 6};
  EXPECT_EQ(Shape(sizes.begin(), sizes.end()), (Shape{5, 6}));
}

TEST(Shape, PrintsAsATuple) {
  EXPECT_EQ(text({}), "()");
  EXPECT_EQ(text({3}), "(3)");
  EXPECT_EQ(text({100, 784}), "(100, 784)");
}

TEST(Shape, SixAxesAreTheMost) {
  Shape shape{1, 2, 3, 4, 5, 6};
  EXPECT_EQ(shape.rank(), 6);
  EXPECT_EQ(error_of([&] { shape.push_back(7); }), "[shape] more than 6 axes");
  EXPECT_EQ(shape, (Shape{1, 2, 3, 4, 5, 6}));
}

TEST(Shape, NegativeSizeIsRefused) {
  EXPECT_EQ(error_of([] { Shape{2, -3}; }), "[shape] axis 1 has the negative size -3");
}

TEST(Shape, AxisIsCheckedAndCountedFromTheStart) {
  const Shape shape{2, 3};
  EXPECT_EQ(shape.axis("sum", 1), 1);
  EXPECT_EQ(shape.axis("sum", -1), 1);
  EXPECT_EQ(shape.axis("sum", -2), 0);
  EXPECT_EQ(error_of([&] { shape.axis("sum", 2); }), "[sum] no axis 2 in the shape (2, 3)");
  EXPECT_EQ(error_of([&] { shape.axis("sum", -3); }), "[sum] no axis -3 in the shape (2, 3)");
  EXPECT_EQ(error_of([&] { Shape().axis("sum", 0); }), "[sum] no axis 0 in the shape ()");
}

TEST(Broadcast, FollowsNumPy) {
  EXPECT_EQ(broadcast("add", {2, 3}, {3}), (Shape{2, 3}));
  EXPECT_EQ(broadcast("add", {2, 1}, {1, 3}), (Shape{2, 3}));
  EXPECT_EQ(broadcast("add", {4, 1, 5}, {3, 1}), (Shape{4, 3, 5}));
  EXPECT_EQ(broadcast("add", {}, {2, 3}), (Shape{2, 3}));
  EXPECT_EQ(broadcast("add", {0, 3}, {1, 3}), (Shape{0, 3}));
}

TEST(Broadcast, FailsWithTheOpsNameAndBothShapes) {
  EXPECT_EQ(error_of([] {
              broadcast("add", {2, 3}, {2});
            }),
            "[add] shapes do not broadcast: (2, 3) and (2)");
  EXPECT_EQ(error_of([] { broadcast("multiply", {0}, {2}); }),
            "[multiply] shapes do not broadcast: (0) and (2)");
}

TEST(Broadcast, AgreesWithTheRuleAxisByAxisForAllSmallShapes) {
  for (const Shape& a : small_shapes())
    for (const Shape& b : small_shapes()) {
      std::vector<Index> expected;
      bool fits = true;
      const int rank = std::max(a.rank(), b.rank());
      for (int i = 0; i < rank; ++i) {
        const int in_a = i - (rank - a.rank()), in_b = i - (rank - b.rank());
        const Index n = in_a < 0 ? 1 : a[in_a], m = in_b < 0 ? 1 : b[in_b];
        fits &= n == m || n == 1 || m == 1;
        expected.push_back(n == 1 ? m : n);
      }
      const Shape whole(expected.begin(), expected.end());
      if (fits) {
        ASSERT_EQ(broadcast("op", a, b), whole) << a << " and " << b;
      } else {
        ASSERT_THROW(broadcast("op", a, b), Error) << a << " and " << b;
      }
      ASSERT_EQ(broadcasts_to(a, b), fits && whole == b) << a << " to " << b;
    }
}

TEST(Strides, AreTheProductsOfTheLaterAxes) {
  EXPECT_EQ(strides_of({2, 3, 1, 4}), (Strides{12, 4, 4, 1}));
  EXPECT_EQ(strides_of({}), Strides{});
}

TEST(Strides, OfABroadcastShapeAreZeroWhereItRepeats) {
  EXPECT_EQ(broadcast_strides({3, 1, 4}, {2, 3, 5, 4}), (Strides{0, 4, 0, 1}));
  EXPECT_EQ(broadcast_strides({}, {2, 3}), Strides{});
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

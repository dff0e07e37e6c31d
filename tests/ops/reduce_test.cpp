// Every reduction, over every subset of axes, against a plain loop over each result's elements.
#include "backflow/ops/reduce.h"

#include <cmath>
#include <limits>

#include "backflow/engine/parallel.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Limits = std::numeric_limits<Real>;
constexpr Real nan = Limits::quiet_NaN(), inf = Limits::infinity();

// Small and odd; then long, wide and narrow enough to be cut into several chunks each way.
const std::vector<Shape> small_shapes = {{1},       {7},          {3, 17},
                                         {3, 1, 5}, {4, 3, 2, 5}, {2, 1, 3, 1, 2, 3}};
const std::vector<Shape> large_shapes = {{40'011},      {70, 1033},   {3, 16'399},
                                         {22'001, 3},   {513, 33},    {2, 33'001, 2},
                                         {32, 2049, 2}, {5, 300, 17}, {70, 3, 129}};

std::vector<Shape> all_shapes() {
  std::vector<Shape> all = small_shapes;
  all.insert(all.end(), large_shapes.begin(), large_shapes.end());
  return all;
}

std::vector<std::vector<int>> subsets_of_axes(int rank) {
  std::vector<std::vector<int>> subsets;
  for (int mask = 0; mask < 1 << rank; ++mask) {
    std::vector<int> axes;
    for (int axis = 0; axis < rank; ++axis)
      if (mask >> axis & 1)
        axes.push_back(axis % 2 ? axis - rank : axis);  // some count from the end
    subsets.push_back(axes);
  }
  return subsets;
}

// The flat indices behind each result, in order.
std::vector<std::vector<Index>> groups(const Shape& shape, const std::vector<int>& axes) {
  std::array<bool, Shape::max_rank> reduced{};
  for (int axis : axes) reduced[axis < 0 ? axis + shape.rank() : axis] = true;
  if (axes.empty()) reduced.fill(true);
  std::vector<std::vector<Index>> all;
  for (Index i = 0; i < shape.size(); ++i) {
    Index rest = i, result = 0, stride = 1;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      const Index index = rest % shape[axis];
      rest /= shape[axis];
      if (reduced[axis]) continue;
      result += index * stride;
      stride *= shape[axis];
    }
    if (result >= static_cast<Index>(all.size())) all.resize(result + 1);
    all[result].push_back(i);
  }
  return all;
}

Shape expected_shape(const Shape& shape, const std::vector<int>& axes, bool keep) {
  Shape out;
  for (int axis = 0; axis < shape.rank(); ++axis) {
    const bool reduced = axes.empty() || std::find(axes.begin(), axes.end(), axis) != axes.end() ||
                         std::find(axes.begin(), axes.end(), axis - shape.rank()) != axes.end();
    if (!reduced) out.push_back(shape[axis]);
    if (reduced && keep) out.push_back(1);
  }
  return out;
}

struct Case {
  const char* name;
  Var (*op)(const Var&, const std::vector<int>&, bool);
  long double (*reference)(const std::vector<Real>&);
};

long double naive_sum(const std::vector<Real>& x) {
  long double sum = 0;
  for (Real value : x) sum += value;
  return sum;
}
long double naive_mean(const std::vector<Real>& x) { return naive_sum(x) / x.size(); }
long double naive_max(const std::vector<Real>& x) { return *std::max_element(x.begin(), x.end()); }
long double naive_min(const std::vector<Real>& x) { return *std::min_element(x.begin(), x.end()); }
long double naive_logsumexp(const std::vector<Real>& x) {
  long double sum = 0;
  for (Real value : x) sum += std::exp(static_cast<long double>(value));
  return std::log(sum);
}

const std::vector<Case> cases = {{"sum", sum, naive_sum},
                                 {"mean", mean, naive_mean},
                                 {"max", max, naive_max},
                                 {"min", min, naive_min},
                                 {"logsumexp", logsumexp, naive_logsumexp}};

Tensor normal(const Shape& shape) { return Random(1).normal(shape); }

// One element of each group stands out above and one below, so that differences meet no kink of max
// or min.
Tensor with_peaks(const Shape& shape, const std::vector<int>& axes) {
  Tensor x = pointwise(Random(1).uniform(shape), [](Real u) { return 2 * u - 1; });
  std::size_t which = 0;
  for (const auto& group : groups(shape, axes)) {
    x.mutable_data()[group[7919 * ++which % group.size()]] = 2;
    if (group.size() > 1) x.mutable_data()[group[(7919 * which + 1) % group.size()]] = -2;
  }
  return x;
}

TEST(Reduction, ValuesAreThoseOfAPlainLoop) {
  for (const Shape& shape : all_shapes())
    for (const auto& axes : subsets_of_axes(shape.rank())) {
      const Tensor x = normal(shape);
      const auto behind = groups(shape, axes);
      for (const Case& c : cases) {
        const Tensor y = c.op(x, axes, false).value();
        ASSERT_EQ(y.size(), static_cast<Index>(behind.size()));
        for (Index i = 0; i < y.size(); ++i) {
          std::vector<Real> values;
          double scale = 1;
          for (Index k : behind[i]) values.push_back(x[k]), scale += std::abs(x[k]);
          ASSERT_NEAR(y[i], static_cast<double>(c.reference(values)), 4 * scale * Limits::epsilon())
              << c.name << " of " << shape << ", result " << i;
        }
      }
    }
}

TEST(Reduction, ShapeLosesTheAxesOrKeepsThemAsOne) {
  for (const Shape& shape : small_shapes)
    for (const auto& axes : subsets_of_axes(shape.rank()))
      for (const Case& c : cases) {
        const Tensor x = normal(shape);
        const Tensor dropped = c.op(x, axes, false).value(), kept = c.op(x, axes, true).value();
        EXPECT_EQ(dropped.shape(), expected_shape(shape, axes, false)) << c.name;
        EXPECT_EQ(kept.shape(), expected_shape(shape, axes, true)) << c.name;
        EXPECT_EQ(dropped.values(), kept.values()) << c.name;
      }
}

TEST(Reduction, GradientsAgreeWithDifferences) {
  for (const Shape& shape : all_shapes())
    for (const auto& axes : subsets_of_axes(shape.rank()))
      for (const Case& c : cases)
        for (bool keep : {false, true}) {
          if (keep && shape.size() > 1000) continue;
          const auto report =
              gradcheck([&](const Var& x) { return c.op(x, axes, keep); }, with_peaks(shape, axes));
          EXPECT_TRUE(report) << c.name << " of " << shape << ": " << report.failure;
        }
}

TEST(Reduction, OfAScalarIsTheScalar) {
  for (const Case& c : cases) {
    const Var x = Var::leaf(Tensor(3));
    const Var y = c.op(x, {}, true);
    EXPECT_EQ(y.shape(), Shape());
    EXPECT_EQ(y.item(), 3) << c.name;
    EXPECT_EQ(backward(y)[x].item(), 1) << c.name;
  }
}

TEST(Reduction, HasTheSameBitsOnAnyNumberOfThreads) {
  for (const Shape& shape : {Shape{300007}, Shape{101, 2053}, Shape{2053, 101}, Shape{20, 7, 1025}})
    for (const auto& axes : subsets_of_axes(shape.rank()))
      for (const Case& c : cases) {
        const Tensor x = normal(shape);
        SCOPED_TRACE(c.name);
        expect_same_bits_on_any_threads([&] { return std::vector{c.op(x, axes, false).value()}; });
      }
}

TEST(Reduction, NaNAnywhereIsNaNThereOnly) {
  for (const Case& c : cases)
    for (Index bad = 0; bad < 3 * 67; ++bad) {
      Tensor x = normal({3, 67});
      x.mutable_data()[bad] = nan;
      const Tensor rows = c.op(x, {1}, false).value(), columns = c.op(x, {0}, false).value();
      EXPECT_TRUE(std::isnan(c.op(x, {}, false).item())) << c.name;
      for (Index i = 0; i < 3; ++i) EXPECT_EQ(std::isnan(rows[i]), i == bad / 67) << c.name;
      for (Index i = 0; i < 67; ++i) EXPECT_EQ(std::isnan(columns[i]), i == bad % 67) << c.name;
    }
}

TEST(Reduction, OfAnEmptySetFailsUnlessItIsASum) {
  const Tensor x = Tensor::empty({0, 3});
  EXPECT_EQ(sum(x).item(), 0);
  EXPECT_EQ(sum(x, {0}).values(), std::vector<Real>(3, 0));
  EXPECT_EQ(error_of([&] { mean(x); }), "[mean] no elements to reduce in the shape (0, 3)");
  EXPECT_EQ(error_of([&] { max(x, {0}); }), "[max] no elements to reduce in the shape (0, 3)");
  EXPECT_EQ(error_of([&] { min(Var(x), {0}); }), "[min] no elements to reduce in the shape (0, 3)");
  EXPECT_EQ(error_of([&] { logsumexp(Var(x)); }),
            "[logsumexp] no elements to reduce in the shape (0, 3)");
}

TEST(Reduction, OfNoSetsIsNoResults) {
  for (const Case& c : cases) {
    const Var x = Var::leaf(Tensor::empty({0, 3}));
    const Var y = c.op(x, {1}, false);
    EXPECT_EQ(y.shape(), Shape({0})) << c.name;
    EXPECT_EQ(backward(y, Tensor::empty({0}))[x].shape(), x.shape()) << c.name;
  }
}

TEST(Reduction, WrongAxesAreNamed) {
  const Tensor x = Tensor::zeros({2, 3});
  EXPECT_EQ(error_of([&] { sum(x, {3}); }), "[sum] no axis 3 in the shape (2, 3)");
  EXPECT_EQ(error_of([&] { mean(x, {-3}); }), "[mean] no axis -3 in the shape (2, 3)");
  EXPECT_EQ(error_of([&] {
              max(Var(x), {1, -1});
            }),
            "[max] axis -1 of the shape (2, 3) is named twice");
}

TEST(Sum, OverNoAxesIsTheTotal) { EXPECT_EQ(sum(Tensor({2, 2}, {1, 2, 3, 4})).item(), 10); }

TEST(Sum, OfManyFloatsKeepsTheirDigits) {
  const Real tenth = Real(0.1);
  const Index n = 3000017;
  const double expected = static_cast<double>(tenth) * n;
  EXPECT_NEAR(
      sum(Tensor::full({n}, tenth)).item() / expected, 1,
      std::max<double>(2 * Limits::epsilon(), 1e-14));  // of a float; double has no wider type
}

TEST(Sum, CancelsAcrossChunks) {
  Tensor x = Tensor::zeros({30000});  // the partial sums are not rounded to float
  x.mutable_data()[0] = 16777216;
  x.mutable_data()[1] = 1;
  x.mutable_data()[29999] = -16777216;
  EXPECT_EQ(sum(x).item(), 1);
}

TEST(Max, SharesItsGradientAmongTies) {
  const Var x = Var::leaf(Tensor({2, 4}, {5, 1, 5, 2, 3, 3, 3, 3}));
  EXPECT_EQ(backward(max(x, {1}), Tensor({2}, {4, 8}))[x].values(),
            (std::vector<Real>{2, 0, 2, 0, 2, 2, 2, 2}));
}

TEST(Max, OfInfinitiesIsInfinite) {
  EXPECT_EQ(max(Tensor::full({70}, -inf)).item(), -inf);
  EXPECT_EQ(max(Tensor({3}, {-inf, inf, 0})).item(), inf);
}

TEST(Max, OfNaNHasANaNGradient) {
  const Var x = Var::leaf(Tensor({3}, {1, nan, 2}));
  for (Real g : backward(max(x))[x].values()) EXPECT_TRUE(std::isnan(g));
}

TEST(Min, SharesItsGradientAmongTies) {
  const Var x = Var::leaf(Tensor({2, 4}, {1, 5, 1, 2, 3, 3, 3, 3}));
  EXPECT_EQ(backward(min(x, {-1}), Tensor({2}, {4, 8}))[x].values(),
            (std::vector<Real>{2, 0, 2, 0, 2, 2, 2, 2}));
}

TEST(Min, OfInfinitiesAndNaNIsAsForMax) {
  EXPECT_EQ(min(Tensor::full({70}, inf)).item(), inf);
  EXPECT_EQ(min(Tensor({3}, {-inf, inf, 0})).item(), -inf);
  const Var x = Var::leaf(Tensor({3}, {1, nan, 2}));
  for (Real g : backward(min(x))[x].values()) EXPECT_TRUE(std::isnan(g));
}

TEST(LogSumExp, DoesNotOverflow) {
  const Tensor x({4}, {1000, 1000, -1000, 1000});
  EXPECT_NEAR(logsumexp(x).item(), 1000 + std::log(3.0), 1e-3 * Limits::epsilon() + 2e-4);
  EXPECT_NEAR(logsumexp(Tensor::full({20011}, -5000)).item(), -5000 + std::log(20011.0),
              5000 * 2 * Limits::epsilon());
  const Var leaf = Var::leaf(x);
  const Tensor g = backward(logsumexp(leaf))[leaf];
  EXPECT_NEAR(g[0], 1 / 3.0, 1e-4);
  EXPECT_EQ(g[2], 0);
}

TEST(LogSumExp, OfNothingButMinusInfinityIsMinusInfinityWithGradientZero) {
  const Var x = Var::leaf(Tensor({2, 2}, {-inf, -inf, -inf, 1}));
  const Var y = logsumexp(x, {1});
  EXPECT_EQ(y.value().values(), (std::vector<Real>{-inf, 1}));
  EXPECT_EQ(backward(y, Tensor({2}, {1, 1}))[x].values(), (std::vector<Real>{0, 0, 0, 1}));
}

TEST(LogSumExp, OfPlusInfinityIsPlusInfinity) {
  const Var x = Var::leaf(Tensor({3}, {1, inf, -inf}));
  const Var y = logsumexp(x);
  EXPECT_EQ(y.item(), inf);
  const Tensor g = backward(y)[x];
  EXPECT_EQ(g[0], 0);
  EXPECT_TRUE(std::isnan(g[1]));
  EXPECT_EQ(g[2], 0);
}

TEST(LogSumExp, GradientIsThatOfTheDifferences) {  // however large what they share
  const auto gradient = [](std::vector<Real> x) {
    const Var leaf = Var::leaf(Tensor({static_cast<Index>(x.size())}, x));
    return backward(logsumexp(leaf))[leaf];
  };
  for (Real shared : {Real(0), Real(1e8), Real(-1e8), Limits::max()})
    for (Real g : gradient({shared, shared, shared}).values())
      EXPECT_NEAR(g, 1 / 3.0, 2 * Limits::epsilon()) << shared;
  const Tensor g = gradient({-1e5, -1e5 - 1});
  EXPECT_NEAR(g[0], 0.73105857863000488, 4 * Limits::epsilon());
  EXPECT_NEAR(g[1], 0.26894142136999512, 4 * Limits::epsilon());
}

TEST(Norm, IsTheEuclideanLength) {
  const Tensor x({2, 2}, {3, 4, -5, 12});
  EXPECT_EQ(norm(x, {1}).values(), (std::vector<Real>{5, 13}));
  EXPECT_EQ(norm(x, {1}, true).shape(), (Shape{2, 1}));
  EXPECT_NEAR(norm(Var(x)).item(), std::sqrt(194.0), 4 * 14 * Limits::epsilon());
  EXPECT_EQ(norm(Tensor::empty({2, 0}), {1}).values(), (std::vector<Real>{0, 0}));
}

TEST(Norm, NeitherOverflowsNorUnderflows) {
  for (Real scale : {Limits::max() / 16, Limits::min() * 16})
    EXPECT_NEAR(norm(Tensor({2}, {3 * scale, -4 * scale})).item() / scale, 5,
                8 * 5 * Limits::epsilon());
  EXPECT_EQ(norm(Tensor({2}, {-inf, 1})).item(), inf);
  EXPECT_TRUE(std::isnan(norm(Tensor({2}, {nan, 1})).item()));
}

TEST(Norm, GradientsAgreeWithDifferences) {
  for (const std::vector<int>& axes : {std::vector<int>{}, {0}, {1, 2}, {-1}})
    for (bool keep : {false, true}) {
      const auto f = [&](const Var& x) { return norm(x, axes, keep); };
      const auto report = gradcheck(f, normal({3, 5, 2}));
      EXPECT_TRUE(report) << report.failure;
    }
}

TEST(Norm, GradientAtZeroIsZero) {
  const Var x = Var::leaf(Tensor({2, 2}, {0, 0, 3, 4}));
  EXPECT_EQ(backward(sum(norm(x, {1})))[x].values(),
            (std::vector<Real>{0, 0, Real(3) / 5, Real(4) / 5}));
}

TEST(SumExamples, KeepsOnlyTheFirstAxis) {
  const Tensor x = normal({5, 3, 7, 2});
  EXPECT_EQ(sum_examples(x).shape(), Shape({5}));
  EXPECT_EQ(sum_examples(x).values(), sum(x, {1, 2, 3}).values());
  EXPECT_EQ(sum_examples(normal({5})).values(), normal({5}).values());
  EXPECT_EQ(sum_examples(Tensor::empty({0, 4})).shape(), Shape({0}));
  EXPECT_EQ(sum_examples(Tensor::empty({4, 0})).values(), std::vector<Real>(4, 0));
  EXPECT_EQ(error_of([] { sum_examples(Var(Tensor(1))); }),
            "[sum_examples] a scalar has no axis of examples");
}

TEST(SumExamples, GradientsAgreeWithDifferences) {
  for (const Shape& shape : {Shape{7}, Shape{7, 3}, Shape{3, 5, 17}, Shape{513, 33}}) {
    const auto report = gradcheck([](const Var& x) { return sum_examples(x); }, normal(shape));
    EXPECT_TRUE(report) << shape << ": " << report.failure;
  }
}

// ---- Squares of a difference --------------------------------------------------------------------

TEST(DifferenceAndSquares, HaveTheBitsOfSeparateOps) {
  for (const Shape& shape : {Shape{}, Shape{1}, Shape{63}, Shape{3, 2731}, Shape{8192}, Shape{8193},
                             Shape{100, 1, 28, 28}, Shape{0, 3}}) {
    const Tensor a = Random(1).normal({1, shape.size()}).reshape(shape);
    const Tensor b = Random(2).normal({1, shape.size()}).reshape(shape);
    const auto [difference, squares] = difference_and_squares(a, b);
    const Tensor e = a - b;
    EXPECT_EQ(difference.shape(), shape);
    EXPECT_EQ(difference.values(), e.values()) << shape;
    EXPECT_EQ(squares.item(), sum(e * e).item()) << shape;
  }
}

TEST(DifferenceAndSquares, HaveTheSameBitsOnAnyNumberOfThreads) {
  const Tensor a = Random(1).normal({7, 9001}), b = Random(2).normal({7, 9001});
  expect_same_bits_on_any_threads([&] {
    const auto both = difference_and_squares(a, b);
    return std::vector<Tensor>(both.begin(), both.end());
  });
}

TEST(DifferenceAndSquares, ShapesThatDifferAreNamed) {
  EXPECT_EQ(error_of([] {
              difference_and_squares(Tensor::zeros({2, 3}), Tensor::zeros({3}));
            }),
            "[difference_and_squares] shapes differ: (2, 3) and (3)");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

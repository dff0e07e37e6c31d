// Every op that moves elements, against the index arithmetic it stands for.
#include "backflow/ops/shape.h"

#include <numeric>

#include "backflow/engine/backward.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/ops/reduce.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Position = std::vector<Index>;  // one index per axis

// Small and odd; then large enough for several chunks and for partly filled tiles.
const std::vector<Shape> shapes = {
    {1},          {7},       {513},       {1, 7},       {3, 17},           {513, 33},
    {97, 1, 129}, {3, 1, 5}, {65, 3, 70}, {2, 3, 4, 5}, {3, 16, 2, 16, 2}, {2, 1, 3, 4, 3, 2},
    {3, 8209}};

Tensor numbered(const Shape& shape) {
  std::vector<Real> values(shape.size());
  std::iota(values.begin(), values.end(), Real(1));
  return {shape, values};
}

Tensor normal(const Shape& shape) { return Random(1).normal(shape); }

Real at(const Tensor& x, const Position& position) {
  Index i = 0;
  for (int axis = 0; axis < x.rank(); ++axis) i = i * x.size(axis) + position[axis];
  return x[i];
}

// Whether y has the shape, and its element at each position is expected(position).
template <class F>
testing::AssertionResult is(const Tensor& y, const Shape& shape, F expected) {
  if (!(y.shape() == shape))
    return testing::AssertionFailure() << "the shape is " << y.shape() << ", not " << shape;
  Position position(shape.rank());
  for (Index i = 0; i < y.size(); ++i) {
    Index rest = i;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      position[axis] = rest % shape[axis];
      rest /= shape[axis];
    }
    if (y[i] != expected(position))
      return testing::AssertionFailure() << "element " << i << " of " << shape << " is " << y[i]
                                         << ", not " << expected(position);
  }
  return testing::AssertionSuccess();
}

testing::AssertionResult gradient_is_right(const std::function<Var(const Var&)>& f,
                                           const Shape& x) {
  const auto report = gradcheck(f, normal(x));
  if (report) return testing::AssertionSuccess();
  return testing::AssertionFailure() << x << ": " << report.failure;
}

std::vector<std::vector<int>> permutations(int rank) {
  std::vector<std::vector<int>> all;
  std::vector<int> axes(rank);
  std::iota(axes.begin(), axes.end(), 0);
  do all.push_back(axes);
  while (std::next_permutation(axes.begin(), axes.end()));
  return all;
}

// ---- reshape --------------------------------------------------------------------------------

TEST(Reshape, SharesTheBuffer) {
  const Tensor x = numbered({3, 4});
  const Tensor y = reshape(x, {2, 6});
  EXPECT_EQ(y.shape(), Shape({2, 6}));
  EXPECT_EQ(y.data(), x.data());
}

TEST(Reshape, InfersOneSize) {
  const Tensor x = numbered({3, 4});
  EXPECT_EQ(reshape(x, {-1}).shape(), Shape({12}));
  EXPECT_EQ(reshape(x, {2, -1}).shape(), Shape({2, 6}));
  EXPECT_EQ(reshape(Var(x), {2, -1, 3}).shape(), Shape({2, 2, 3}));
  EXPECT_EQ(reshape(numbered({}), {-1, 1}).shape(), Shape({1, 1}));
  EXPECT_EQ(reshape(Tensor::empty({0, 4}), {-1, 2}).shape(), Shape({0, 2}));
}

TEST(Reshape, FailsWhenSizesDoNotFit) {
  const Tensor x = numbered({3, 4});
  EXPECT_EQ(error_of([&] { reshape(x, {5, 2}); }), "[reshape] cannot make (5, 2) of (3, 4)");
  EXPECT_EQ(error_of([&] { reshape(x, {5, -1}); }), "[reshape] cannot make (5, -1) of (3, 4)");
  EXPECT_EQ(error_of([&] { reshape(x, {-1, -1}); }), "[reshape] cannot make (-1, -1) of (3, 4)");
  EXPECT_EQ(error_of([&] { reshape(Var(x), Shape{7}); }), "[reshape] cannot make (7) of (3, 4)");
  EXPECT_EQ(error_of([&] {
              reshape(Tensor::empty({0}), {0, -1});
            }),
            "[reshape] cannot make (0, -1) of (0)");
}

TEST(Reshape, GradientsAgreeWithDifferences) {
  EXPECT_TRUE(gradient_is_right([](const Var& x) { return reshape(x, {17, -1}); }, {3, 17}));
  EXPECT_TRUE(gradient_is_right([](const Var& x) { return reshape(x, {}); }, {1, 1}));
}

// ---- permute and transpose ------------------------------------------------------------------

TEST(Permute, MovesEveryElementForEveryOrderOfAxes) {
  for (const Shape& shape : shapes)
    for (const auto& axes : permutations(shape.rank())) {
      const Tensor x = numbered(shape);
      Shape permuted;
      for (int axis : axes) permuted.push_back(shape[axis]);
      ASSERT_TRUE(is(permute(x, axes), permuted, [&](const Position& to) {
        Position from(to.size());
        for (std::size_t i = 0; i < to.size(); ++i) from[axes[i]] = to[i];
        return at(x, from);
      }));
    }
}

TEST(Permute, CountsAxesFromTheEnd) {
  EXPECT_EQ(permute(numbered({2, 3, 4}), {-1, 0, -2}).shape(), Shape({4, 2, 3}));
}

TEST(Permute, GradientsAgreeWithDifferences) {
  EXPECT_TRUE(gradient_is_right([](const Var& x) { return permute(x, {2, 0, 1}); }, {3, 1, 5}));
  EXPECT_TRUE(gradient_is_right([](const Var& x) { return permute(x, {-1, 0, 1}); }, {65, 3, 70}));
  EXPECT_TRUE(gradient_is_right(
      [](const Var& x) {
        return permute(x, {0, 1, 3, 5, 2, 4});
      },
      {2, 3, 4, 2, 3, 2}));
}

TEST(Permute, OfSizesOneSharesTheBuffer) {
  const Tensor x = numbered({1, 7, 1});
  const Tensor y = permute(x, {1, 2, 0});
  EXPECT_EQ(y.shape(), Shape({7, 1, 1}));
  EXPECT_EQ(y.data(), x.data());
}

TEST(Permute, FailsUnlessAllAxesAreOrdered) {
  const Tensor x = numbered({2, 3});
  EXPECT_EQ(error_of([&] { permute(x, {0}); }),
            "[permute] (0) does not order all axes of the shape (2, 3)");
  EXPECT_EQ(error_of([&] {
              permute(x, {0, -2});
            }),
            "[permute] axis -2 of the shape (2, 3) is named twice");
  EXPECT_EQ(error_of([&] { permute(Var(x), {0, 2}); }), "[permute] no axis 2 in the shape (2, 3)");
}

TEST(Transpose, SwapsTheLastTwoAxes) {
  EXPECT_EQ(transpose(numbered({2, 3})).values(), (std::vector<Real>{1, 4, 2, 5, 3, 6}));
  for (const Shape& shape :
       {Shape{784, 513}, Shape{1024, 1024}, Shape{7, 33, 40}, Shape{2, 3, 1, 17}}) {
    const Tensor x = numbered(shape), y = transpose(x);
    Shape swapped = shape;
    std::swap(swapped[-1], swapped[-2]);
    EXPECT_TRUE(is(y, swapped, [&](Position p) {
      std::swap(p[p.size() - 1], p[p.size() - 2]);
      return at(x, p);
    }));
    EXPECT_EQ(transpose(y).values(), x.values());
  }
  EXPECT_EQ(error_of([] { transpose(numbered({3})); }),
            "[transpose] two axes expected, the shape is (3)");
}

TEST(Transpose, GradientsAgreeWithDifferences) {
  for (const Shape& shape : {Shape{3, 17}, Shape{1, 7}, Shape{129, 97}, Shape{3, 7, 5}})
    EXPECT_TRUE(gradient_is_right([](const Var& x) { return transpose(x); }, shape));
}

// ---- slice, pad, concat ---------------------------------------------------------------------

TEST(Slice, TakesARangeOfEveryAxis) {
  for (const Shape& shape : shapes)
    for (int axis = 0; axis < shape.rank(); ++axis) {
      const Tensor x = numbered(shape);
      const Index n = shape[axis];
      for (const auto& [begin, end] : std::vector<std::pair<Index, Index>>{
               {0, n}, {0, n / 2}, {n / 3, n}, {n - 1, n}, {n, n}}) {
        Shape sliced = shape;
        sliced[axis] = end - begin;
        ASSERT_TRUE(is(slice(x, axis, begin, end), sliced, [&, begin = begin](Position p) {
          p[axis] += begin;
          return at(x, p);
        }));
      }
    }
}

TEST(Slice, GradientsAgreeWithDifferences) {
  EXPECT_TRUE(gradient_is_right([](const Var& x) { return slice(x, 0, 2, 5); }, {7}));
  EXPECT_TRUE(gradient_is_right([](const Var& x) { return slice(x, -1, 0, 16); }, {513, 33}));
  EXPECT_TRUE(gradient_is_right([](const Var& x) { return slice(x, 1, 1, 2); }, {3, 3, 5}));
}

// The first one's gradient is padded, those after it are added into the range that they cover.
TEST(Slice, GradientsOfOverlappingSlicesAddUp) {
  for (int axis : {0, 1, -1}) {
    const auto f = [axis](const Var& x) {
      return square(slice(x, axis, 0, 3)) * slice(x, axis, 1, 4) + slice(x, axis, 2, 5);
    };
    EXPECT_EQ(gradcheck(f, Random(1).normal({5, 6, 7})).failure, "") << axis;
  }
  const Var x = Var::leaf(Tensor({4}, {1, 2, 3, 4}));
  const Var y = sum(slice(x, 0, 0, 3)) + sum(slice(x, 0, 2, 4)) + sum(x);
  EXPECT_EQ(backward(y)[x].values(), (std::vector<Real>{2, 2, 3, 2}));
}

TEST(Slice, FailsOutsideTheAxis) {
  const Tensor x = numbered({2, 3});
  EXPECT_EQ(error_of([&] { slice(x, 1, 0, 4); }),
            "[slice] no range 0..4 on axis 1 of the shape (2, 3)");
  EXPECT_EQ(error_of([&] { slice(x, -1, -1, 2); }),
            "[slice] no range -1..2 on axis 1 of the shape (2, 3)");
  EXPECT_EQ(error_of([&] { slice(x, 0, 2, 1); }),
            "[slice] no range 2..1 on axis 0 of the shape (2, 3)");
  EXPECT_EQ(error_of([&] { slice(x, 2, 0, 1); }), "[slice] no axis 2 in the shape (2, 3)");
}

TEST(Pad, PutsZerosAround) {
  for (const Shape& shape : shapes)
    for (int axis = 0; axis < shape.rank(); ++axis)
      for (const auto& [before, after] :
           std::vector<std::pair<Index, Index>>{{0, 0}, {2, 0}, {1, 3}}) {
        const Tensor x = numbered(shape);
        Shape padded = shape;
        padded[axis] += before + after;
        ASSERT_TRUE(is(pad(x, axis, before, after), padded, [&, before = before](Position p) {
          p[axis] -= before;
          return p[axis] < 0 || p[axis] >= shape[axis] ? Real(0) : at(x, p);
        }));
      }
}

TEST(Pad, GradientsAgreeWithDifferences) {
  EXPECT_TRUE(gradient_is_right([](const Var& x) { return pad(x, 0, 2, 1); }, {7}));
  EXPECT_TRUE(gradient_is_right([](const Var& x) { return pad(x, -1, 1, 0); }, {513, 33}));
  EXPECT_TRUE(gradient_is_right([](const Var& x) { return pad(x, 1, 0, 2); }, {3, 1, 5}));
}

TEST(Pad, FailsForNegativeWidths) {
  EXPECT_EQ(error_of([] {
              pad(numbered({2, 3}), -1, 1, -2);
            }),
            "[pad] cannot pad axis 1 of the shape (2, 3) by 1 and -2");
}

TEST(Pad, RefusesWidthsThatNoMemoryHolds) {
  const Index most = std::numeric_limits<Index>::max();
  const Tensor nothing = Tensor::zeros({2, 0});
  EXPECT_EQ(error_of([&] { pad(nothing, 0, most, most); }),
            "[pad] cannot pad axis 0 of the shape (2, 0) by 9223372036854775807 and "
            "9223372036854775807");
  EXPECT_TRUE(error_of([&] { pad(nothing, 0, Shape::max_size, 0); }).starts_with("[shape] "));
}

TEST(Concat, RefusesASumThatNoMemoryHolds) {
  const std::vector<Tensor> parts(20, Tensor::zeros({0, Shape::max_size}));
  EXPECT_TRUE(error_of([&] { concat(parts, 1); }).starts_with("[shape] (0, "));
}

TEST(Concat, PutsPartsOneAfterAnother) {
  for (const Shape& shape : shapes)
    for (int axis = 0; axis < shape.rank(); ++axis) {
      Shape other = shape, joined = shape;
      other[axis] = 2;
      joined[axis] = 2 * shape[axis] + 2;
      const Tensor a = numbered(shape), b = normal(other), c = normal(shape);
      ASSERT_TRUE(is(concat({a, b, c}, axis), joined, [&](Position p) {
        if (p[axis] < shape[axis]) return at(a, p);
        p[axis] -= shape[axis];
        if (p[axis] < 2) return at(b, p);
        p[axis] -= 2;
        return at(c, p);
      }));
    }
}

TEST(Concat, UndoesSlices) {
  const Tensor x = numbered({513, 33});
  for (int axis : {0, 1, -1}) {
    const Index n = x.size(axis);
    const std::vector<Tensor> parts = {slice(x, axis, 0, 5), slice(x, axis, 5, 5),
                                       slice(x, axis, 5, n)};
    EXPECT_EQ(concat(parts, axis).values(), x.values());
  }
}

TEST(Concat, GradientsAgreeWithDifferences) {
  for (int axis : {1, -2}) {
    const auto f = [&](const std::vector<Var>& in) { return std::vector{concat(in, axis)}; };
    const auto report = gradcheck(f, {normal({3, 7, 5}), normal({3, 1, 5}), normal({3, 600, 5})});
    EXPECT_TRUE(report) << report.failure;
  }
}

TEST(Concat, OneVarTwiceGetsBothGradients) {
  const Var x = Var::leaf(numbered({2})), constant = numbered({1});
  const Var y = concat({x, constant, x}, 0);
  EXPECT_EQ(backward(y, numbered({5}))[x].values(), (std::vector<Real>{5, 7}));
}

TEST(Concat, FailsWhenOtherSizesDiffer) {
  const Tensor x = numbered({2, 3});
  EXPECT_EQ(error_of([&] {
              concat({x, numbered({3, 3})}, -1);
            }),
            "[concat] sizes differ beside axis 1: (2, 3) and (3, 3)");
  EXPECT_EQ(error_of([&] {
              concat({Var(x), Var(numbered({2}))}, 0);
            }),
            "[concat] sizes differ beside axis 0: (2, 3) and (2)");
  EXPECT_EQ(error_of([&] { concat({x, x}, 2); }), "[concat] no axis 2 in the shape (2, 3)");
  EXPECT_EQ(error_of([] { concat(std::vector<Var>(), 0); }), "[concat] nothing to concatenate");
}

// ---- stack and split ------------------------------------------------------------------------

TEST(Stack, PutsPartsAlongANewAxis) {
  for (const Shape& shape : shapes)
    for (int place = 0; place <= shape.rank() && shape.rank() < Shape::max_rank; ++place) {
      const Tensor a = numbered(shape), b = normal(shape), c = normal(shape) + a;
      Position sizes(shape.begin(), shape.end());
      sizes.insert(sizes.begin() + place, 3);
      const auto expected = [&](Position p) {
        const Index which = p[place];
        p.erase(p.begin() + place);
        return at(which == 0 ? a : which == 1 ? b : c, p);
      };
      const Shape stacked(sizes.begin(), sizes.end());
      ASSERT_TRUE(is(stack({a, b, c}, place), stacked, expected));
      ASSERT_TRUE(is(stack({a, b, c}, place - shape.rank() - 1), stacked, expected));
      ASSERT_TRUE(is(stack({Var(a), Var(b), Var(c)}, place).value(), stacked, expected));
    }
}

TEST(Stack, OfScalarsIsAVector) {
  const Tensor one(1), two(2);
  EXPECT_EQ(stack({one, two}, 0).shape(), Shape({2}));
  EXPECT_EQ(stack({one, two}, -1).values(), (std::vector<Real>{1, 2}));
}

TEST(Stack, GradientsAgreeWithDifferences) {
  for (int axis : {0, 2, -1, -2}) {
    const auto f = [&](const std::vector<Var>& in) { return std::vector{stack(in, axis)}; };
    const auto report = gradcheck(f, {normal({3, 7}), normal({3, 7}), numbered({3, 7})});
    EXPECT_TRUE(report) << report.failure;
  }
  const Var x = Var::leaf(numbered({2}));
  EXPECT_EQ(backward(stack({x, Var(numbered({2})), x}, 0), numbered({3, 2}))[x].values(),
            (std::vector<Real>{6, 8}));
}

TEST(Stack, FailsForOtherShapesAndPlaces) {
  const Tensor x = numbered({2, 3});
  EXPECT_EQ(error_of([&] {
              stack({x, numbered({2, 1})}, 0);
            }),
            "[stack] shapes differ: (2, 3) and (2, 1)");
  EXPECT_EQ(error_of([&] { stack({Var(x)}, 3); }),
            "[stack] no place 3 for a new axis in the shape (2, 3)");
  EXPECT_EQ(error_of([&] {
              stack({x, x}, -4);
            }),
            "[stack] no place -4 for a new axis in the shape (2, 3)");
  EXPECT_EQ(error_of([] { stack(std::vector<Var>(), 0); }), "[stack] nothing to stack");
  EXPECT_NE(error_of([] { stack({Tensor(), Tensor()}, 0); }), "no error");
  EXPECT_NE(error_of([] { stack({Tensor::zeros({1, 1, 1, 1, 1, 1})}, 0); }), "no error");
}

TEST(Split, GivesBackWhatConcatJoined) {
  for (const Shape& shape : shapes)
    for (int axis = 0; axis < shape.rank(); ++axis) {
      const Tensor x = numbered(shape);
      const Index n = shape[axis];
      for (const std::vector<Index>& sizes :
           std::vector<std::vector<Index>>{{n}, {0, n}, {n / 3, n - n / 3, 0}, {1, n - 1}}) {
        const std::vector<Tensor> parts = split(x, sizes, axis - shape.rank());
        ASSERT_EQ(parts.size(), sizes.size());
        for (std::size_t i = 0; i < sizes.size(); ++i) EXPECT_EQ(parts[i].size(axis), sizes[i]);
        EXPECT_EQ(concat(parts, axis).values(), x.values());
      }
      const std::vector<Var> singles = split(Var(x), n, axis);
      ASSERT_EQ(std::ssize(singles), n);
      EXPECT_EQ(singles.back().value().values(), slice(x, axis, n - 1, n).values());
    }
}

TEST(Split, TakesANumberOfPartsOrAListOfSizes) {
  const Tensor x = numbered({2, 6});
  EXPECT_EQ(split(x, 3, 1).size(), 3u);
  EXPECT_EQ(split(x, 3, 1)[2].values(), (std::vector<Real>{5, 6, 11, 12}));
  EXPECT_EQ(split(Var(x), {1, 5}, 1)[1].shape(), Shape({2, 5}));
  EXPECT_EQ(split(x, {6}, 1).size(), 1u);  // a list of one size, not six parts
  EXPECT_EQ(split(Tensor::empty({0, 2}), 4, 0)[3].shape(), Shape({0, 2}));
  EXPECT_TRUE(split(Tensor::empty({0, 2}), {}, 0).empty());
}

TEST(Split, GradientsAgreeWithDifferences) {
  for (int axis : {0, 1, -1}) {
    const auto f = [axis](const Var& x) {
      const std::vector<Var> parts = split(x, {1, 3, 2}, axis);
      return sum(square(parts[1])) * sum(parts[2]) + sum(parts[2] * parts[2]);
    };
    const auto report = gradcheck(f, normal({6, 6}));
    EXPECT_TRUE(report) << report.failure;
  }
  const Var x = Var::leaf(numbered({6}));
  EXPECT_EQ(backward(sum(split(x, 3, 0)[1]))[x].values(), (std::vector<Real>{0, 0, 1, 1, 0, 0}));
}

TEST(Split, FailsUnlessThePartsMakeUpTheAxis) {
  const Tensor x = numbered({2, 5});
  EXPECT_EQ(error_of([&] { split(x, 2, 1); }),
            "[split] axis 1 of the shape (2, 5) has no 2 equal parts");
  EXPECT_EQ(error_of([&] { split(Var(x), 0, -1); }),
            "[split] axis 1 of the shape (2, 5) has no 0 equal parts");
  EXPECT_EQ(error_of([&] {
              split(x, {2, 2}, 1);
            }),
            "[split] the sizes add up to 4, expected those of axis 1 of the shape (2, 5)");
  EXPECT_EQ(error_of([&] {
              split(x, {2, 4}, 1);
            }),
            "[split] a part of size 4 where 3 of axis 1 of the shape (2, 5) are left");
  EXPECT_EQ(error_of([&] {
              split(Var(x), {6, -1}, 1);
            }),
            "[split] a part of size 6 where 5 of axis 1 of the shape (2, 5) are left");
  EXPECT_EQ(error_of([&] {
              split(x, {-1, 6}, 1);
            }),
            "[split] a part of size -1 where 5 of axis 1 of the shape (2, 5) are left");
  EXPECT_EQ(error_of([&] { split(x, 1, 2); }), "[split] no axis 2 in the shape (2, 5)");
}

// ---- flip -----------------------------------------------------------------------------------

TEST(Flip, ReversesEverySubsetOfAxes) {
  for (const Shape& shape : shapes)
    for (int mask = 0; mask < 1 << shape.rank(); ++mask) {
      std::vector<int> axes;
      for (int axis = 0; axis < shape.rank(); ++axis)
        if (mask >> axis & 1) axes.push_back(axis);
      const Tensor x = numbered(shape);
      ASSERT_TRUE(is(flip(x, axes), shape, [&](Position p) {
        for (int axis : axes) p[axis] = shape[axis] - 1 - p[axis];
        return at(x, p);
      }));
    }
}

TEST(Flip, GradientsAgreeWithDifferences) {
  EXPECT_TRUE(gradient_is_right([](const Var& x) { return flip(x, {0}); }, {7}));
  EXPECT_TRUE(gradient_is_right([](const Var& x) { return flip(x, {-1, 0}); }, {513, 33}));
  EXPECT_TRUE(gradient_is_right([](const Var& x) { return flip(x, {1}); }, {3, 4, 5}));
}

TEST(Flip, FailsForAxesNamedTwice) {
  EXPECT_EQ(error_of([] {
              flip(numbered({2, 3}), {1, -1});
            }),
            "[flip] axis -1 of the shape (2, 3) is named twice");
}

// ---- broadcast_to ---------------------------------------------------------------------------

struct ShapePair {
  Shape from, to;
};

const std::vector<ShapePair> broadcasts = {{{}, {7}},
                                           {{}, {3, 5}},
                                           {{}, {20011}},
                                           {{1}, {}},
                                           {{5}, {3, 5}},
                                           {{3, 1}, {3, 5}},
                                           {{4, 1}, {3, 4, 5}},
                                           {{3, 1, 5}, {3, 4, 5}},
                                           {{3, 5}, {3, 5}},
                                           {{33}, {513, 33}},
                                           {{513, 1}, {513, 33}},
                                           {{1, 9001}, {3, 9001}},
                                           {{2, 1, 3, 1, 2}, {2, 4, 3, 5, 2}},
                                           {{17, 1, 40}, {2, 17, 40, 40}}};

TEST(BroadcastTo, RepeatsMissingAxesAndThoseOfSizeOne) {
  for (const auto& [from, to] : broadcasts) {
    if (to.rank() < from.rank()) continue;
    const Tensor x = numbered(from);
    const int added = to.rank() - from.rank();
    EXPECT_TRUE(is(broadcast_to(x, to), to, [&, from = from](const Position& p) {
      Position source(p.begin() + added, p.end());
      for (int axis = 0; axis < from.rank(); ++axis)
        if (from[axis] == 1) source[axis] = 0;
      return at(x, source);
    }));
  }
}

TEST(BroadcastTo, GradientsAgreeWithDifferences) {
  for (const auto& [from, to] : broadcasts) {
    if (to.rank() < from.rank()) continue;
    EXPECT_TRUE(gradient_is_right([to = to](const Var& x) { return broadcast_to(x, to); }, from));
  }
}

TEST(BroadcastTo, FailsWhenSizesDiffer) {
  EXPECT_EQ(error_of([] {
              broadcast_to(numbered({3, 2}), {4, 2});
            }),
            "[broadcast_to] the shape (3, 2) does not broadcast to (4, 2)");
  EXPECT_EQ(error_of([] {
              broadcast_to(Var(numbered({1, 2})), {2});
            }),
            "[broadcast_to] the shape (1, 2) does not broadcast to (2)");
}

// ---- No elements ----------------------------------------------------------------------------

TEST(Moving, NoElementsMovesNothing) {
  struct Case {
    std::function<Var(const Var&)> op;
    Shape result;
  };
  for (const auto& [op, result] :
       std::vector<Case>{{[](const Var& x) {
                            return reshape(x, {0, 2});
                          },
                          {0, 2}},
                         {[](const Var& x) {
                            return permute(x, {2, 0, 1});
                          },
                          {5, 3, 0}},
                         {[](const Var& x) { return transpose(x); }, {3, 5, 0}},
                         {[](const Var& x) { return slice(x, 2, 1, 3); }, {3, 0, 2}},
                         {[](const Var& x) {
                            return concat({x, x}, 1);
                          },
                          {3, 0, 5}},
                         {[](const Var& x) {
                            return concat({x, Tensor::zeros({3, 2, 5})}, 1);
                          },
                          {3, 2, 5}},
                         {[](const Var& x) { return pad(x, 1, 1, 1); }, {3, 2, 5}},
                         {[](const Var& x) {
                            return flip(x, {0, 1, 2});
                          },
                          {3, 0, 5}},
                         {[](const Var& x) {
                            return broadcast_to(x, {2, 3, 0, 5});
                          },
                          {2, 3, 0, 5}}}) {
    const Var x = Var::leaf(Tensor::empty({3, 0, 5}));
    const Var y = op(x);
    EXPECT_EQ(y.shape(), result);
    EXPECT_EQ(backward(y, Tensor::zeros(result))[x].shape(), x.shape());
  }
}

TEST(BroadcastTo, NoElementsGivesGradientZero) {
  const Var x = Var::leaf(numbered({1, 5}));
  EXPECT_EQ(backward(broadcast_to(x, {0, 5}), Tensor::empty({0, 5}))[x].values(),
            std::vector<Real>(5, 0));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

// Every op along every axis, against a plain loop over each line.
#include "backflow/ops/axis.h"

#include <cmath>
#include <limits>

#include "backflow/engine/parallel.h"
#include "backflow/ops/finite.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/random.h"
#include "backflow/ops/reduce.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Limits = std::numeric_limits<Real>;
constexpr Real nan = Limits::quiet_NaN(), inf = Limits::infinity();
using Line = std::vector<long double>;

const std::vector<Shape> shapes = {{1}, {7}, {3, 17}, {3, 1, 5}, {4, 3, 2, 5}, {2, 9, 130}};

struct Case {
  const char* name;
  Var (*op)(const Var&, int);
  Tensor (*kernel)(const Tensor&, int);
  Line (*reference)(const Line&);
};

Line naive_softmax(const Line& x) {
  Line y;
  long double total = 0;
  for (long double v : x) total += y.emplace_back(std::exp(v));
  for (long double& v : y) v /= total;
  return y;
}
Line naive_log_softmax(const Line& x) {
  Line y = naive_softmax(x);
  for (long double& v : y) v = std::log(v);
  return y;
}
Line naive_cumsum(const Line& x) {
  Line y;
  for (long double v : x) y.push_back(v + (y.empty() ? 0 : y.back()));
  return y;
}

const std::vector<Case> cases = {{"softmax", softmax, softmax, naive_softmax},
                                 {"log_softmax", log_softmax, log_softmax, naive_log_softmax},
                                 {"cumsum", cumsum, cumsum, naive_cumsum}};

// The flat index of element j of each line, line after line.
std::vector<std::vector<Index>> lines(const Shape& shape, int axis) {
  Index inner = 1;
  for (int i = axis + 1; i < shape.rank(); ++i) inner *= shape[i];
  std::vector<std::vector<Index>> all;
  for (Index start = 0; start < shape.size(); ++start) {
    if (start / inner % shape[axis] != 0) continue;
    std::vector<Index>& line = all.emplace_back();
    for (Index j = 0; j < shape[axis]; ++j) line.push_back(start + j * inner);
  }
  return all;
}

// Calls test(shape, axis, axis as it is passed: counted from the end for every other one).
template <class Test>
void for_each_axis(const Test& test) {
  for (const Shape& shape : shapes)
    for (int axis = 0; axis < shape.rank(); ++axis)
      test(shape, axis, axis % 2 ? axis - shape.rank() : axis);
}

Tensor normal(const Shape& shape) { return Random(1).normal(shape); }

// The index has x's shape but for the axis; every number below x.size(axis) may come several times.
Tensor random_index(Shape shape, int axis, Index size) {
  const Real n = static_cast<Real>(shape[axis]);
  shape[axis] = size;
  Tensor index = Random(2).uniform(shape);
  for (Index i = 0; i < index.size(); ++i) index.mutable_data()[i] = std::floor(index[i] * n);
  return index;
}

TEST(Axis, ValuesAreThoseOfAPlainLoop) {
  for_each_axis([](const Shape& shape, int axis, int named) {
    const Tensor x = normal(shape);
    for (const Case& c : cases) {
      const Tensor y = c.kernel(x, named);
      ASSERT_EQ(y.shape(), shape);
      EXPECT_EQ(y.values(), c.op(x, named).value().values());
      for (const auto& line : lines(shape, axis)) {
        Line values;
        for (Index i : line) values.push_back(x[i]);
        const Line expected = c.reference(values);
        for (std::size_t j = 0; j < line.size(); ++j)
          ASSERT_NEAR(y[line[j]], static_cast<double>(expected[j]),
                      (20 + j) * Limits::epsilon())  // one rounding per term
              << c.name << " of " << shape << " along " << axis;
      }
    }
  });
}

TEST(Axis, GradientsAgreeWithDifferences) {
  for_each_axis([](const Shape& shape, int, int named) {
    for (const Case& c : cases) {
      const auto report = gradcheck([&](const Var& x) { return c.op(x, named); }, normal(shape));
      EXPECT_TRUE(report) << c.name << " of " << shape << ": " << report.failure;
    }
  });
}

TEST(Axis, HasTheSameBitsOnAnyNumberOfThreads) {
  for (const Shape& shape : {Shape{101, 253}, Shape{5, 40, 129}, Shape{30011}})
    for (int axis = 0; axis < shape.rank(); ++axis) {
      const Tensor x = normal(shape), index = random_index(shape, axis, shape[axis] + 3);
      expect_same_bits_on_any_threads([&] {
        std::vector<Tensor> all;
        const auto add = [&](const Var& leaf, const Var& y) {
          all.push_back(y.value());
          all.push_back(backward(y, Random(4).normal(y.shape()))[leaf]);
        };
        for (const Case& c : cases) {
          const Var leaf = Var::leaf(x);
          add(leaf, c.op(leaf, axis));
        }
        const Var leaf = Var::leaf(x);
        add(leaf, gather(leaf, axis, index));
        return all;
      });
    }
}

TEST(Axis, OfNothingIsEmpty) {
  for (const Shape& shape : {Shape{0, 3}, Shape{3, 0}, Shape{0}})
    for (int axis = 0; axis < shape.rank(); ++axis)
      for (const Case& c : cases) {
        const Var x = Var::leaf(Tensor::empty(shape));
        const Var y = c.op(x, axis);
        EXPECT_EQ(y.shape(), shape) << c.name;
        EXPECT_EQ(backward(y, Tensor::empty(shape))[x].shape(), shape) << c.name;
      }
}

TEST(Axis, ThatIsMissingIsNamed) {
  const Tensor x = Tensor::zeros({2, 3});
  EXPECT_EQ(error_of([&] { softmax(x, 2); }), "[softmax] no axis 2 in the shape (2, 3)");
  EXPECT_EQ(error_of([&] { log_softmax(x, -3); }), "[log_softmax] no axis -3 in the shape (2, 3)");
  EXPECT_EQ(error_of([&] { cumsum(Var(x), 5); }), "[cumsum] no axis 5 in the shape (2, 3)");
  EXPECT_EQ(error_of([&] { gather(x, 2, x); }), "[gather] no axis 2 in the shape (2, 3)");
  EXPECT_EQ(error_of([] { softmax(Tensor(1), 0); }), "[softmax] no axis 0 in the shape ()");
}

TEST(Softmax, SumsToOneAndDoesNotOverflow) {
  const Tensor x({2, 3}, {10000, 10001, -10000, -10000, -10001, -20000});
  const Tensor y = softmax(x, 1), l = log_softmax(x, 1);
  const double larger = 1 / (1 + std::exp(-1.0)), smaller = 1 - larger;
  const std::vector<double> expected = {smaller, larger, 0, larger, smaller, 0};
  for (Index i = 0; i < 6; ++i) EXPECT_NEAR(y[i], expected[i], 4 * Limits::epsilon());
  for (Index i : {0, 1, 3, 4}) EXPECT_NEAR(l[i], std::log(expected[i]), 4 * Limits::epsilon());
  EXPECT_NEAR(l[2], -20001 + std::log(larger), 20001 * Limits::epsilon());
  const Var leaf = Var::leaf(x);
  EXPECT_TRUE(all_finite(backward(log_softmax(leaf, 1), Tensor::full({2, 3}, 1))[leaf]));
  EXPECT_TRUE(all_finite(backward(softmax(leaf, 1), normal({2, 3}))[leaf]));
}

TEST(Softmax, OfMinusInfinityIsZero) {
  EXPECT_EQ(softmax(Tensor({3}, {-inf, 2, -inf}), 0).values(), (std::vector<Real>{0, 1, 0}));
  EXPECT_EQ(log_softmax(Tensor({3}, {-inf, 2, -inf}), 0).values(),
            (std::vector<Real>{-inf, 0, -inf}));
}

TEST(Softmax, KeepsNaNInItsLine) {
  const Tensor x({2, 2}, {1, nan, 3, 4});
  for (const Tensor& y : {softmax(x, 1), log_softmax(x, 1)})
    for (Index i = 0; i < 4; ++i) EXPECT_EQ(std::isnan(y[i]), i < 2);
}

TEST(CumSum, KeepsNaNFromThereOn) {
  const Tensor y = cumsum(Tensor({4}, {1, 2, nan, 4}), 0);
  for (Index i = 0; i < 4; ++i) EXPECT_EQ(std::isnan(y[i]), i >= 2);
}

TEST(CumSum, OfManyFloatsKeepsTheirDigits) {
  const Real tenth = Real(0.1);
  const Index n = 200003;
  const double expected = static_cast<double>(tenth) * n;
  EXPECT_NEAR(cumsum(Tensor::full({n}, tenth), 0)[n - 1] / expected, 1,
              std::max<double>(2 * Limits::epsilon(), 1e-11));
}

TEST(Gather, PicksAlongTheAxis) {
  const Tensor x({2, 3}, {1, 2, 3, 4, 5, 6});
  EXPECT_EQ(gather(x, 0, Tensor({1, 3}, {1, 0, 1})).values(), (std::vector<Real>{4, 2, 6}));
  const Tensor picked = gather(x, -1, Tensor({2, 4}, {2, 2, 0, 1, 0, 0, 0, 2}));
  EXPECT_EQ(picked.shape(), Shape({2, 4}));
  EXPECT_EQ(picked.values(), (std::vector<Real>{3, 3, 1, 2, 4, 4, 4, 6}));
}

TEST(Gather, ValuesAreThoseOfAPlainLoop) {
  for_each_axis([](const Shape& shape, int axis, int named) {
    const Tensor x = normal(shape), index = random_index(shape, axis, 5);
    const Tensor y = gather(x, named, index);
    ASSERT_EQ(y.shape(), index.shape());
    const auto from = lines(shape, axis), to = lines(index.shape(), axis);
    ASSERT_EQ(from.size(), to.size());
    for (std::size_t line = 0; line < to.size(); ++line)
      for (Index at : to[line])
        ASSERT_EQ(y[at], x[from[line][static_cast<std::size_t>(index[at])]])
            << shape << " along " << axis;
  });
}

TEST(Gather, GradientsAgreeWithDifferences) {
  for_each_axis([](const Shape& shape, int axis, int named) {
    for (Index size : {1, 5}) {
      const Tensor index = random_index(shape, axis, size);
      const auto report =
          gradcheck([&](const Var& x) { return gather(x, named, index); }, normal(shape));
      EXPECT_TRUE(report) << shape << " along " << axis << ": " << report.failure;
    }
  });
}

TEST(Gather, GradientsOfOneElementAddUp) {
  const Var x = Var::leaf(Tensor({3}, {1, 2, 3}));
  const Var y = gather(x, 0, Tensor({4}, {2, 0, 2, 2}));
  EXPECT_EQ(backward(y, Tensor({4}, {1, 10, 100, 1000}))[x].values(),
            (std::vector<Real>{10, 0, 1101}));
}

TEST(Gather, OfNothingIsEmpty) {
  const Var x = Var::leaf(Tensor::full({2, 3}, 1));
  const Var y = gather(x, 1, Tensor::empty({2, 0}));
  EXPECT_EQ(y.shape(), Shape({2, 0}));
  EXPECT_EQ(backward(y, Tensor::empty({2, 0}))[x].values(), std::vector<Real>(6, 0));
  EXPECT_EQ(gather(Tensor::empty({0, 3}), 0, Tensor::empty({0, 3})).shape(), Shape({0, 3}));
}

TEST(Gather, WrongIndicesAreNamed) {
  const Tensor x = Tensor::zeros({2, 3});
  const auto error = [&](const Tensor& index) { return error_of([&] { gather(x, 1, index); }); };
  const std::string end = " is none of the 3 places on axis 1 of the shape (2, 3)";
  EXPECT_EQ(error(Tensor({2, 1}, {0, 3})), "[gather] the index 3" + end);
  EXPECT_EQ(error(Tensor({2, 1}, {-1, 0})), "[gather] the index -1" + end);
  EXPECT_EQ(error(Tensor({2, 1}, {0, 0.5})), "[gather] the index 0.5" + end);
  EXPECT_EQ(error(Tensor({2, 1}, {nan, 0})), "[gather] the index nan" + end);
  EXPECT_EQ(error(Tensor::zeros({3, 1})),
            "[gather] sizes differ beside axis 1: x is (2, 3), the index (3, 1)");
  EXPECT_EQ(error(Tensor::zeros({2})),
            "[gather] sizes differ beside axis 1: x is (2, 3), the index (2)");
}

#ifndef BACKFLOW_DOUBLE
TEST(Gather, AlongAnAxisWhosePlacesFloatsCannotNameFails) {
  const Index places = Index{1} << 24;
  const Tensor index({1}, {Real(places - 1)});
  EXPECT_EQ(gather(Tensor::zeros({places}), 0, index).item(), 0);
  EXPECT_EQ(error_of([&] { gather(Tensor::zeros({places + 1}), 0, index); }),
            "[gather] axis 0 of the shape (16777217) is too long: an index held as float names "
            "16777216 places exactly");
}
#endif

// ---- argmax -----------------------------------------------------------------------------------

TEST(Argmax, IsThePlaceOfTheLargestOfEachLine) {
  for_each_axis([](const Shape& shape, int axis, int named) {
    const Tensor x = Random(1).normal(shape), places = argmax(x, named);
    const auto all = lines(shape, axis);
    ASSERT_EQ(places.size(), std::ssize(all));
    for (std::size_t i = 0; i < all.size(); ++i) {
      const auto smaller = [&](Index a, Index b) { return x[a] < x[b]; };
      const auto& line = all[i];
      EXPECT_EQ(places[i], std::max_element(line.begin(), line.end(), smaller) - line.begin());
    }
  });
}

TEST(Argmax, IsTheIndexThatGathersTheMaximum) {
  for_each_axis([](const Shape& shape, int axis, int named) {
    const Tensor x = Random(1).normal(shape), index = argmax(x, named, true);
    const Tensor top = max(x, {axis}, true);
    EXPECT_EQ(index.shape(), top.shape());
    EXPECT_EQ(argmax(x, named).shape(), max(x, {axis}).shape());
    EXPECT_EQ(gather(x, axis, index).values(), top.values());
  });
}

TEST(Argmax, IsTheFirstOfTiesAndTheFirstNaN) {
  const Tensor x({4, 4}, {1, 5, 5, 2, -inf, -inf, -inf, -inf, 0, nan, inf, nan, 0, inf, inf, 1});
  EXPECT_EQ(argmax(x, 1).values(), (std::vector<Real>{1, 0, 1, 1}));
  EXPECT_EQ(argmax(Tensor({4, 2}, {1, 1, 2, nan, 2, 7, 0, nan}), 0).values(),
            (std::vector<Real>{1, 1}));
  EXPECT_EQ(argmax(x), 9);
  EXPECT_EQ(argmax(Tensor({2, 3}, {-1, -2, -3, -1, -1, -5})), 0);
  EXPECT_EQ(argmax(Tensor(7)), 0);
  Tensor large = Random(1).uniform({3, 30011});
  large.mutable_data()[60013] = large.mutable_data()[90000] = 2;
  EXPECT_EQ(argmax(large), 60013);
}

TEST(Argmax, HasTheSameBitsOnAnyNumberOfThreads) {
  for (int axis : {0, 1, 2}) {
    const Tensor x = Random(1).normal({70, 130, 129});
    expect_same_bits_on_any_threads([&] { return std::vector{argmax(x, axis)}; });
  }
}

TEST(Argmax, OfNothingFailsAndOfNoLinesIsEmpty) {
  const Tensor x = Tensor::empty({0, 3});
  EXPECT_EQ(argmax(x, 1).shape(), Shape({0}));
  EXPECT_EQ(argmax(x, -1, true).shape(), Shape({0, 1}));
  EXPECT_EQ(error_of([&] { argmax(x, -2); }), "[argmax] no elements on axis 0 of the shape (0, 3)");
  EXPECT_EQ(error_of([&] { argmax(x); }), "[argmax] no elements in the shape (0, 3)");
  EXPECT_EQ(error_of([&] { argmax(x, 2); }), "[argmax] no axis 2 in the shape (0, 3)");
  EXPECT_EQ(error_of([] { argmax(Tensor(1), 0); }), "[argmax] no axis 0 in the shape ()");
  EXPECT_NE(error_of([] { argmax(Tensor()); }), "no error");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

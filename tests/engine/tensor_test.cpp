#include "backflow/engine/tensor.h"

#include <cmath>
#include <limits>
#include <numeric>
#include <thread>

#include "backflow/engine/parallel.h"
#include "backflow/ops/random.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// 0, 1, 2, ...: sums of them are exact.
Tensor counting(const Shape& shape) {
  Tensor out = Tensor::empty(shape);
  std::iota(out.mutable_data(), out.mutable_data() + out.size(), Real(0));
  return out;
}

// One element at a time: which element of `shape` does this element of x belong to?
std::vector<Real> naive_sum_to(const Tensor& x, const Shape& shape) {
  std::vector<double> sums(shape.size());
  for (Index flat = 0; flat < x.size(); ++flat) {
    Index rest = flat, target = 0, stride = 1;
    for (int i = 1; i <= shape.rank(); ++i) {
      target += shape[-i] == 1 ? 0 : rest % x.size(-i) * stride;
      rest /= x.size(-i);
      stride *= shape[-i];
    }
    sums[target] += x[flat];
  }
  return {sums.begin(), sums.end()};
}

void expect_sum_to_is_naive(const Shape& from, const Shape& to) {
  const Tensor x = counting(from);
  const Tensor sum = sum_to(x, to);
  ASSERT_EQ(sum.shape(), to) << from << " to " << to;
  ASSERT_EQ(sum.values(), naive_sum_to(x, to)) << from << " to " << to;
}

TEST(Tensor, DefaultIsUndefined) {
  EXPECT_FALSE(Tensor().defined());
  EXPECT_THROW(Tensor().item(), Error);
}

TEST(Tensor, RealIsAScalar) {
  const Tensor x = Real(2.5);
  EXPECT_EQ(x.rank(), 0);
  EXPECT_EQ(x.item(), Real(2.5));
}

TEST(Tensor, ValuesMustFillTheShape) {
  EXPECT_EQ(Tensor({2, 2}, {1, 2, 3, 4})[2], 3);
  EXPECT_EQ(error_of([] {
              Tensor({2, 2}, {1, 2, 3});
            }),
            "[tensor] 3 values do not fill the shape (2, 2)");
}

TEST(Tensor, FactoriesFillEveryElement) {
  EXPECT_EQ(Tensor::full({2, 3}, 7).values(), std::vector<Real>(6, 7));
  EXPECT_EQ(Tensor::zeros({3}).values(), std::vector<Real>(3, 0));
  EXPECT_EQ(Tensor::identity(3).values(), (std::vector<Real>{1, 0, 0, 0, 1, 0, 0, 0, 1}));
  EXPECT_EQ(Tensor::identity(3).shape(), (Shape{3, 3}));
}

TEST(Tensor, MayBeEmpty) {
  const Tensor x = Tensor::zeros({0, 3});
  EXPECT_TRUE(x.defined());
  EXPECT_EQ(x.size(), 0);
  EXPECT_TRUE(x.values().empty());
  EXPECT_EQ(add(x, x).shape(), (Shape{0, 3}));
}

TEST(Tensor, DataIsAlignedTo64Bytes) {
  for (Index n : {1, 3, 17, 1000}) {
    const Tensor x = Tensor::empty({n});
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(x.data()) % 64, 0u);
  }
}

TEST(Tensor, ItemNeedsOneElement) {
  EXPECT_EQ(Tensor({1, 1}, {4}).item(), 4);
  EXPECT_EQ(error_of([] { Tensor::zeros({2}).item(); }),
            "[item] one element expected, the shape is (2)");
}

TEST(Tensor, CopyIsAHandle) {
  const Tensor x = counting({4});
  EXPECT_FALSE(x.shared());
  const Tensor y = x;
  EXPECT_EQ(x.data(), y.data());
  EXPECT_TRUE(x.shared());
  EXPECT_TRUE(y.shared());
}

TEST(Tensor, WritingLeavesOtherCopiesAlone) {
  const Tensor x = counting({100003});  // several chunks and a rest
  Tensor y = x;
  y.mutable_data()[5] = -1;
  EXPECT_NE(x.data(), y.data());
  EXPECT_EQ(x.values(), counting({100003}).values());
  EXPECT_EQ(y[5], -1);
  y.mutable_data()[5] = 5;
  EXPECT_EQ(y.values(), x.values());
}

TEST(Tensor, OnlyOwnerIsWrittenInPlace) {
  Tensor x = counting({4});
  const Real* before = x.data();
  { const Tensor gone = x; }
  EXPECT_EQ(x.mutable_data(), before);
}

TEST(Tensor, CopiesAreWrittenFromSeveralThreadsAtOnce) {
  const Tensor x = counting({1000});
  std::vector<Tensor> copies(4, x);
  std::vector<std::thread> writers;
  for (int t = 0; t < 4; ++t)
    writers.emplace_back([&copies, t] {
      Real* p = copies[t].mutable_data();
      for (Index i = 0; i < 1000; ++i) p[i] += Real(t + 1);
    });
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(x.values(), counting({1000}).values());
  for (int t = 0; t < 4; ++t) EXPECT_EQ(copies[t][999], 1000 + t);
}

TEST(Tensor, ReshapeSharesTheBuffer) {
  const Tensor x = counting({2, 6});
  Tensor y = x.reshape({3, 4});
  EXPECT_EQ(y.data(), x.data());
  EXPECT_EQ(y.shape(), (Shape{3, 4}));
  y.mutable_data()[0] = 9;
  EXPECT_EQ(x[0], 0);
  EXPECT_EQ(x.shape(), (Shape{2, 6}));
}

TEST(Tensor, ReshapeKeepsTheSize) {
  EXPECT_EQ(error_of([] { counting({2, 6}).reshape({5}); }), "[reshape] cannot make (5) of (2, 6)");
}

TEST(At, IsTheElementAtAnIndexPerAxis) {
  const Tensor x = counting({2, 3, 4});
  for (Index i = 0; i < 2; ++i)
    for (Index j = 0; j < 3; ++j)
      for (Index k = 0; k < 4; ++k) EXPECT_EQ(x.at({i, j, k}), 12 * i + 4 * j + k);
  EXPECT_EQ(Tensor(7).at({}), 7);
}

TEST(At, IsWrittenBySetWhichLeavesOtherCopiesAlone) {
  Tensor x = counting({2, 3});
  const Tensor before = x;
  x.set({1, 0}, -5);
  EXPECT_EQ(x.values(), (std::vector<Real>{0, 1, 2, -5, 4, 5}));
  EXPECT_EQ(before.at({1, 0}), 3);
  const Real* const place = x.data();
  x.set({0, 2}, 9);
  EXPECT_EQ(x.data(), place);
  EXPECT_EQ(x.at({0, 2}), 9);
}

TEST(At, OutsideOfTheShapeFailsAndChangesNothing) {
  Tensor x = counting({2, 3});
  EXPECT_EQ(error_of([&] { x.at({0, 3}); }), "[at] index 3 is out of range for axis 1 of (2, 3)");
  EXPECT_EQ(error_of([&] { x.at({-1, 0}); }), "[at] index -1 is out of range for axis 0 of (2, 3)");
  EXPECT_EQ(error_of([&] { x.at({1}); }), "[at] 1 indices for the shape (2, 3), expected 2");
  EXPECT_EQ(error_of([&] { x.at({}); }), "[at] 0 indices for the shape (2, 3), expected 2");
  EXPECT_EQ(error_of([&] {
              x.set({2, 0}, 1);
            }),
            "[set] index 2 is out of range for axis 0 of (2, 3)");
  EXPECT_EQ(error_of([&] {
              x.set({0, 0, 0}, 1);
            }),
            "[set] 3 indices for the shape (2, 3), expected 2");
  EXPECT_EQ(error_of([] {
              Tensor::zeros({0, 3}).at({0, 0});
            }),
            "[at] index 0 is out of range for axis 0 of (0, 3)");
  EXPECT_EQ(x.values(), counting({2, 3}).values());
}

TEST(Add, NeedsEqualShapes) {
  EXPECT_EQ(add(counting({3}), counting({3})).values(), (std::vector<Real>{0, 2, 4}));
  EXPECT_EQ(error_of([] {
              add(counting({2}), counting({1, 2}));
            }),
            "[add] shapes differ: (2) and (1, 2)");
}

TEST(AddInto, WritesInPlaceWhenNobodyElseLooks) {
  Tensor sum = counting({20000});
  const Real* before = sum.data();
  add_into(sum, counting({20000}));
  EXPECT_EQ(sum.data(), before);
  EXPECT_EQ(sum[19999], 2 * 19999);
}

TEST(AddInto, LeavesASharedBufferAlone) {
  Tensor sum = counting({3});
  const Tensor other = sum;
  add_into(sum, counting({3}));
  EXPECT_EQ(other.values(), (std::vector<Real>{0, 1, 2}));
  EXPECT_EQ(sum.values(), (std::vector<Real>{0, 2, 4}));
}

TEST(AddInto, AddsATensorToItself) {
  Tensor sum = counting({3});
  add_into(sum, sum);
  EXPECT_EQ(sum.values(), (std::vector<Real>{0, 2, 4}));
}

TEST(AddInto, NeedsEqualShapesAndChangesNothingIfTheyDiffer) {
  Tensor sum = counting({2});
  EXPECT_EQ(error_of([&] { add_into(sum, counting({3})); }), "[add] shapes differ: (2) and (3)");
  const Tensor other = sum;
  EXPECT_EQ(error_of([&] { add_into(sum, counting({3})); }), "[add] shapes differ: (2) and (3)");
  EXPECT_EQ(sum.values(), (std::vector<Real>{0, 1}));
}

TEST(SumTo, AgreesWithANaiveLoopForAllSmallShapes) {
  std::vector<Shape> shapes{{}};
  for (std::size_t i = 0; i < shapes.size(); ++i) {
    if (shapes[i].rank() == 4) continue;
    for (Index n : {0, 1, 2, 3}) {
      Shape longer = shapes[i];
      longer.push_back(n);
      shapes.push_back(longer);
    }
  }
  int pairs = 0;
  for (const Shape& from : shapes)
    for (const Shape& to : shapes)
      if (broadcasts_to(to, from)) {
        expect_sum_to_is_naive(from, to);
        ++pairs;
      }
  EXPECT_GT(pairs, 2000);
}

TEST(SumTo, AgreesWithANaiveLoopForSeparatedAndLongAxes) {
  expect_sum_to_is_naive({2, 3, 2, 3, 2, 3}, {1, 3, 1, 3, 1, 3});
  expect_sum_to_is_naive({2, 3, 2, 3, 2, 3}, {2, 1, 2, 1, 2, 1});
  expect_sum_to_is_naive({2, 3, 2, 3, 2, 3}, {2, 1, 1, 3});
  expect_sum_to_is_naive({7, 1000}, {1000});  // more columns than one block holds
  expect_sum_to_is_naive({1000, 7}, {7});
  expect_sum_to_is_naive({1000, 7}, {1000, 1});
  expect_sum_to_is_naive({3, 40, 300}, {3, 1, 300});
  expect_sum_to_is_naive({3, 40, 300}, {1});
}

TEST(SumTo, SumOfNothingIsZero) {  // an empty batch
  EXPECT_EQ(sum_to(Tensor::zeros({0, 3}), {3}).values(), std::vector<Real>(3, 0));
  EXPECT_EQ(sum_to(Tensor::zeros({0, 3}), {}).item(), 0);
}

TEST(SumTo, SameShapeSharesTheBuffer) {
  const Tensor x = counting({2, 3});
  EXPECT_EQ(sum_to(x, {2, 3}).data(), x.data());
  EXPECT_EQ(sum_to(counting({1, 3}), {3}).values(), (std::vector<Real>{0, 1, 2}));
}

TEST(SumTo, FailsWhenTheShapesDoNotBroadcast) {
  EXPECT_EQ(error_of([] {
              sum_to(counting({2, 3}), {2});
            }),
            "[sum_to] a gradient of shape (2, 3) does not fit a value of shape (2)");
  EXPECT_EQ(error_of([] {
              sum_to(counting({3}), {1, 3});
            }),
            "[sum_to] a gradient of shape (3) does not fit a value of shape (1, 3)");
}

TEST(SumTo, LongSumsKeepSmallTerms) {
  Tensor x = Tensor::full({1001}, 1);
  x.mutable_data()[0] = 16777216;  // 2^24: in float, adding 1 changes nothing
  EXPECT_EQ(sum_to(x, {}).item(), 16777216 + 1000);
}

TEST(SumTo, GivesTheSameBitsOnAnyNumberOfThreads) {
  const int before = threads();
  const Tensor x = Random(3).normal({50, 40, 300});
  for (const Shape& shape : {Shape{300}, Shape{40, 1}, Shape{50, 1, 300}, Shape{}}) {
    set_threads(1);
    const std::vector<Real> expected = sum_to(x, shape).values();
    for (int count : {2, 3, 16}) {
      set_threads(count);
      EXPECT_EQ(sum_to(x, shape).values(), expected) << count << " threads to " << shape;
    }
  }
  set_threads(before);
}

TEST(Undefined, TensorHasNoValuesAndSaysSo) {
  const std::string message =
      "[tensor] undefined: a default-constructed Tensor or Var has no values; give it one";
  Tensor undefined;
  const Tensor one(1);
  EXPECT_EQ(error_of([&] { undefined.data(); }), message);
  EXPECT_EQ(error_of([&] { undefined.mutable_data(); }), message);
  EXPECT_EQ(error_of([&] { undefined.values(); }), message);
  EXPECT_EQ(error_of([&] { undefined.item(); }), message);
  EXPECT_EQ(error_of([&] { undefined[0]; }), message);
  EXPECT_EQ(error_of([&] { undefined.at({}); }), message);
  EXPECT_EQ(error_of([&] { undefined.set({}, 1); }), message);
  EXPECT_EQ(error_of([&] { undefined.reshape({1, 1}); }), message);
  EXPECT_EQ(error_of([&] { add(undefined, one); }), message);
  EXPECT_EQ(error_of([&] { add_into(undefined, one); }), message);
  EXPECT_EQ(error_of([&] { sum_to(undefined, {}); }), message);
  EXPECT_FALSE(undefined.shared());
}

TEST(SumTo, AddsInDoubleAlongRowsAndColumns) {
  std::vector<Real> column(65, 1), twice;
  column[0] = Real(1 << 24);  // the next float is 2 further on: a float sum would stay here
  for (Real x : column) twice.insert(twice.end(), 2, x);
  const Real total = Real((1 << 24) + 64);
  EXPECT_EQ(sum_to(Tensor({65}, column), {1}).item(), total);
  EXPECT_EQ(sum_to(Tensor({65, 2}, twice), {2}).values(), (std::vector<Real>{total, total}));
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

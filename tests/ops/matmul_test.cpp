// Products in every transpose mode, against three plain loops in long double.
#include "backflow/ops/matmul.h"

#include <cmath>
#include <limits>

#include "backflow/engine/parallel.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Limits = std::numeric_limits<Real>;
constexpr Real nan = Limits::quiet_NaN();

// (m, k) x (k, n). The large ones are cut into tiles: between rows, or between columns.
struct Sizes {
  Index m, k, n;
};
const std::vector<Sizes> small_sizes = {{1, 1, 1}, {3, 5, 7},  {1, 17, 9},  {9, 17, 1},
                                        {8, 1, 3}, {1, 50, 1}, {33, 9, 65}, {199, 3, 201}};
const std::vector<Sizes> large_sizes = {{401, 40, 33}, {33, 40, 401}, {203, 13, 203}};
// Between both, or along the inner axis, whose last piece is shorter.
const std::vector<Sizes> cut_sizes = {{600, 3, 530}, {530, 3, 600}, {64, 2101, 33}, {7, 9001, 20}};
const std::vector<Sizes> vector_sizes = {{801, 625, 1}, {1, 625, 801}};
const std::vector<Sizes> empty_sizes = {{0, 3, 5}, {3, 5, 0}, {3, 0, 5}, {0, 3, 0},
                                        {0, 0, 5}, {3, 0, 0}, {0, 0, 0}, {401, 0, 401}};

Tensor normal(const Shape& shape, std::uint64_t seed = 1) { return Random(seed).normal(shape); }

Operand<Tensor> operand(Index rows, Index columns, bool is_transposed, std::uint64_t seed) {
  return {normal(is_transposed ? Shape{columns, rows} : Shape{rows, columns}, seed), is_transposed};
}

// f(a, b) for all the sizes in all four modes.
template <class F>
void for_each_mode(const std::vector<Sizes>& sizes, F f) {
  for (const auto& [m, k, n] : sizes)
    for (bool transpose_a : {false, true})
      for (bool transpose_b : {false, true}) {
        const auto a = operand(m, k, transpose_a, 1), b = operand(k, n, transpose_b, 2);
        std::ostringstream what;
        what << a.value.shape() << (transpose_a ? "^T" : "") << " x " << b.value.shape()
             << (transpose_b ? "^T" : "");
        SCOPED_TRACE(what.str());
        f(a, b);
      }
}

Index rows(const Operand<Tensor>& x) { return x.value.size(x.is_transposed ? 1 : 0); }
Index columns(const Operand<Tensor>& x) { return x.value.size(x.is_transposed ? 0 : 1); }
Index place(const Operand<Tensor>& x, Index i, Index j) {
  return x.is_transposed ? j * x.value.size(1) + i : i * x.value.size(1) + j;
}

// Whether y = beta * before + a b, each element as exactly as the sizes of its terms allow.
testing::AssertionResult is_sum(const Tensor& y, Real beta, const Tensor& before,
                                const Operand<Tensor>& a, const Operand<Tensor>& b) {
  if (!(y.shape() == Shape{rows(a), columns(b)}))
    return testing::AssertionFailure() << "the shape is " << y.shape();
  for (Index i = 0; i < rows(a); ++i)
    for (Index j = 0; j < columns(b); ++j) {
      const Index at = i * columns(b) + j;
      long double sum = beta == 0 ? 0 : before[at], scale = std::abs(sum);
      for (Index k = 0; k < columns(a); ++k) {
        const long double term =
            static_cast<long double>(a.value[place(a, i, k)]) * b.value[place(b, k, j)];
        sum += term;
        scale += std::abs(term);
      }
      if (!(std::abs(y[at] - sum) <= 4 * scale * Limits::epsilon()))
        return testing::AssertionFailure()
               << "element " << i << ", " << j << " is " << y[at] << ", not " << sum;
    }
  return testing::AssertionSuccess();
}

// Gradcheck of a product in the modes of a and b.
GradcheckReport check_gradients(const Operand<Tensor>& a, const Operand<Tensor>& b) {
  const auto f = [&](const std::vector<Var>& in) {
    return std::vector{matmul(Operand<Var>{in[0], a.is_transposed}, {in[1], b.is_transposed})};
  };
  return gradcheck(f, {a.value, b.value});
}

TEST(Matmul, ValuesAreThoseOfThreeLoops) {
  for (const auto& sizes : {small_sizes, large_sizes, vector_sizes, cut_sizes, empty_sizes})
    for_each_mode(sizes, [](const auto& a, const auto& b) {
      EXPECT_TRUE(is_sum(matmul(a, b), 0, Tensor(), a, b));
    });
}

TEST(Matmul, GradientsAgreeWithDifferences) {
  for (const auto& sizes : {small_sizes, large_sizes})
    for_each_mode(sizes, [](const auto& a, const auto& b) {
      const auto report = check_gradients(a, b);
      EXPECT_TRUE(report) << report.failure;
    });
}

TEST(Matmul, OneOperandTwiceGetsBothGradients) {
  for (bool first : {false, true})
    for (bool second : {false, true})
      for (Index n : {1, 5, 13}) {
        const auto square = [&](const Var& x) {
          return matmul(Operand<Var>{x, first}, Operand<Var>{x, second});
        };
        const auto report = gradcheck(square, normal({n, n}));
        EXPECT_TRUE(report) << first << second << ' ' << n << ": " << report.failure;
      }
  const auto gram =
      gradcheck([](const Var& x) { return matmul(x, transposed(x)); }, normal({7, 5}));
  EXPECT_TRUE(gram) << gram.failure;
}

TEST(Matmul, OfEmptyOperandsHasGradientsOfZeros) {
  for_each_mode(empty_sizes, [](const auto& a, const auto& b) {
    const Var A = Var::leaf(a.value), B = Var::leaf(b.value);
    const Var y = matmul(Operand<Var>{A, a.is_transposed}, {B, b.is_transposed});
    const Gradients gradients = backward(y, normal(y.shape()));
    for (const Var& x : {A, B}) {
      EXPECT_EQ(gradients[x].shape(), x.shape());
      EXPECT_EQ(gradients[x].values(), std::vector<Real>(x.size(), 0));
    }
  });
}

TEST(Matmul, HasTheSameBitsOnAnyNumberOfThreads) {
  const std::vector<Sizes> more = {{801, 625, 1}, {100, 784, 784}};
  for (const auto& sizes : {large_sizes, cut_sizes, more})
    for_each_mode(sizes, [](const auto& a, const auto& b) {
      const Tensor before = normal({rows(a), columns(b)}, 3);
      expect_same_bits_on_any_threads([&] {
        Tensor sum = before;
        matmul_into(sum, 1, a, b);
        return std::vector{matmul(a, b), sum};
      });
    });
}

TEST(Matmul, NaNOfAnOperandFillsItsRowOrColumnOnly) {
  for_each_mode({{5, 7, 3}, {1, 17, 9}, {9, 17, 1}, {401, 40, 33}, {33, 40, 401}},
                [](const auto& a, const auto& b) {
                  for (const auto& [i, j] : {std::pair<Index, Index>(0, 0),
                                             {rows(a) / 2, columns(b) / 2},
                                             {rows(a) - 1, columns(b) - 1}}) {
                    const Index k = columns(a) / 3;
                    auto bad_a = a, bad_b = b;
                    bad_a.value.mutable_data()[place(a, i, k)] = nan;
                    bad_b.value.mutable_data()[place(b, k, j)] = nan;
                    const Tensor in_row = matmul(bad_a, b), in_column = matmul(a, bad_b);
                    for (Index at = 0; at < in_row.size(); ++at) {
                      ASSERT_EQ(std::isnan(in_row[at]), at / columns(b) == i);
                      ASSERT_EQ(std::isnan(in_column[at]), at % columns(b) == j);
                    }
                  }
                });
}

TEST(Matmul, NaNTimesZeroIsNaN) {
  const Tensor zeros = Tensor::zeros({5, 5}), bad = Tensor::full({5, 5}, nan);
  for (const Tensor& y : {matmul(zeros, bad), matmul(bad, zeros)})
    for (Real value : y.values()) EXPECT_TRUE(std::isnan(value));
}

TEST(Matmul, ClosuresKeepOnlyWhatTheyNeed) {
  const Var x = Var::leaf(normal({7, 7})), constant = normal({7, 7});
  for (const Var& y : {matmul(x, constant), matmul(constant, x), matmul(transposed(x), constant),
                       matmul(transposed(constant), x)}) {
    EXPECT_TRUE(y.requires_grad());
    EXPECT_FALSE(x.value().shared());
    EXPECT_TRUE(constant.value().shared());
  }
}

TEST(Matmul, TakesATensorForAConstant) {
  const Var x = Var::leaf(normal({3, 5}));
  const Tensor c = normal({5, 3});
  const auto expect_same = [&x](const Var& y, const Var& expected) {
    EXPECT_EQ(y.value().values(), expected.value().values());
    const Tensor seed = Tensor::full(y.shape(), 1);
    EXPECT_EQ(backward(y, seed)[x].values(), backward(expected, seed)[x].values());
  };
  expect_same(matmul(x, c), matmul(x, Var(c)));
  expect_same(matmul(c, x), matmul(Var(c), x));
  expect_same(matmul(transposed(x), transposed(c)), matmul(transposed(x), transposed(Var(c))));
  expect_same(matmul(transposed(c), transposed(x)), matmul(transposed(Var(c)), transposed(x)));
}

TEST(Matmul, InnerSizesThatDifferAreNamed) {
  const Tensor a = Tensor::zeros({100, 784}), b = Tensor::zeros({785, 784});
  EXPECT_EQ(error_of([&] { matmul(a, b); }),
            "[matmul] inner sizes differ: (100, 784) x (785, 784)");
  EXPECT_EQ(error_of([&] { matmul(Var(b), transposed(Var::leaf(transpose(a)))); }),
            "[matmul] inner sizes differ: (785, 784) x (784, 100)^T");
  EXPECT_EQ(error_of([&] { matmul(transposed(a), transposed(b)); }),
            "[matmul] inner sizes differ: (100, 784)^T x (785, 784)^T");
}

TEST(Matmul, OperandsThatAreNoMatricesAreNamed) {
  const Tensor vector = normal({3}), matrix = normal({3, 2}), cube = normal({2, 2, 3});
  const std::string expected = "[matmul] matrices or batches of them expected: ";
  EXPECT_EQ(error_of([&] { matmul(vector, matrix); }), expected + "(3) x (3, 2)");
  EXPECT_EQ(error_of([&] { matmul(Var(cube), transposed(Var(vector))); }),
            expected + "(2, 2, 3) x (3)");
  EXPECT_EQ(error_of([&] {
              matmul(normal({1, 2, 2, 3}), cube);
            }),
            expected + "(1, 2, 2, 3) x (2, 2, 3)");
  EXPECT_EQ(error_of([] { matmul(Tensor(1), Tensor()); }), expected + "() x ()");
}

// ---- Into a place that exists ---------------------------------------------------------------

TEST(MatmulInto, AddsToWhatIsThere) {
  for (const auto& sizes : {small_sizes, large_sizes, vector_sizes, cut_sizes, empty_sizes})
    for_each_mode(sizes, [](const auto& a, const auto& b) {
      const Tensor before = normal({rows(a), columns(b)}, 3);
      Tensor y = before;  // shares its buffer with `before`, which must keep its values
      matmul_into(y, 1, a, b);
      EXPECT_TRUE(is_sum(y, 1, before, a, b));
    });
}

TEST(MatmulInto, WithBetaZeroNothingOfTheOldValuesLeaksThrough) {
  for (const auto& sizes : {small_sizes, large_sizes, vector_sizes, cut_sizes, empty_sizes})
    for_each_mode(sizes, [](const auto& a, const auto& b) {
      Tensor y = Tensor::full({rows(a), columns(b)}, nan);
      matmul_into(y, 0, a, b);
      EXPECT_EQ(y.values(), matmul(a, b).values());
    });
}

TEST(MatmulInto, ItsOwnOperandReadsTheOldValues) {
  const Tensor before = normal({33, 33});
  for (Real beta : {0, 1}) {
    Tensor x = before;
    matmul_into(x, beta, x, transposed(x));
    EXPECT_TRUE(is_sum(x, beta, before, before, transposed(before)));
  }
}

TEST(MatmulInto, APlaceOfAnotherShapeIsNamedAndLeftAlone) {
  Tensor y = Tensor::full({4, 2}, 7);
  EXPECT_EQ(error_of([&] {
              matmul_into(y, 0, normal({2, 3}), normal({3, 4}));
            }),
            "[matmul] the product has the shape (2, 4), its place (4, 2)");
  EXPECT_EQ(error_of([&] {
              matmul_into(y, 1, transposed(normal({3, 8})), normal({3, 1}));
            }),
            "[matmul] the product has the shape (8, 1), its place (4, 2)");
  EXPECT_EQ(y.values(), std::vector<Real>(8, 7));
}

TEST(MatmulInto, AParameterOfTwoProductsGetsTheSumOfTheirGradients) {
  for_each_mode({{5, 7, 3}, {401, 40, 33}, {33, 40, 401}}, [](const auto& a, const auto& b) {
    const auto f = [&](const std::vector<Var>& in) {
      const Operand<Var> left{in[0], a.is_transposed}, right{in[1], b.is_transposed};
      return std::vector{matmul(left, right), matmul(left, transposed(in[2])),
                         matmul(in[3], right)};
    };
    const auto report =
        gradcheck(f, {a.value, b.value, normal({4, columns(a)}, 4), normal({6, columns(a)}, 5)});
    EXPECT_TRUE(report) << report.failure;
  });
}

// The sum hands its gradient to both inputs before the product adds to the one of W.
TEST(MatmulInto, AGradientThatAnotherNodeSharesIsNotWritten) {
  const Tensor X = normal({5, 5}, 2), seed = normal({5, 5}, 3);
  const Var W = Var::leaf(normal({5, 5})), V = Var::leaf(normal({5, 5}));
  const Var product = matmul(Var(X), W);
  const Gradients gradients = backward(product + (W + V), seed);
  EXPECT_EQ(gradients[V].values(), seed.values());
  EXPECT_TRUE(is_sum(gradients[W], 1, seed, transposed(X), seed));
}

// ---- The transpose of a matrix plus a product ---------------------------------------------------

TEST(TransposePlusProduct, HasTheBitsOfBothOneAfterTheOther) {
  // Single tiles, several that end with odd ones, pieces of a long inner axis, and nothing at all.
  for (const auto& [m, k, n] : std::vector<std::array<Index, 3>>{{1, 1, 1},
                                                                 {3, 5, 9},
                                                                 {17, 2, 8},
                                                                 {431, 100, 70},
                                                                 {90, 60, 1030},
                                                                 {33, 2100, 40},
                                                                 {4, 0, 9},
                                                                 {0, 3, 4},
                                                                 {5, 3, 0}})
    for (const Real scale : {Real(0.5), Real(-1.5), Real(0)}) {
      const Tensor r = normal({n, m}, 1), a = normal({k, m}, 2), b = normal({k, n}, 3);
      const Tensor found = transpose_plus_product(scale, r, transposed(a), b);
      Tensor expected = scale * transpose(r);
      matmul_into(expected, 1, transposed(a), b);
      ASSERT_EQ(found.shape(), expected.shape());
      for (Index i = 0; i < found.size(); ++i)
        ASSERT_EQ(found[i], expected[i]) << i << " of " << found.shape();
    }
}

TEST(TransposePlusProduct, NaNOfTheMatrixStaysInItsPlace) {
  Tensor r = normal({20, 11});
  r.mutable_data()[7 * 11 + 3] = nan;
  const Tensor y = transpose_plus_product(0, r, normal({11, 4}), normal({4, 20}));
  for (Index i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i == 3 * 20 + 7) << i;
}

TEST(TransposePlusProduct, HasTheSameBitsOnAnyNumberOfThreads) {
  const Tensor r = normal({520, 410}), a = normal({410, 30}), b = normal({30, 520});
  expect_same_bits_on_any_threads(
      [&] { return std::vector<Tensor>{transpose_plus_product(2, r, a, b)}; });
}

TEST(TransposePlusProduct, MatricesThatDoNotFitAreNamed) {
  EXPECT_EQ(error_of([] {
              transpose_plus_product(1, normal({2, 3}), normal({2, 5}), normal({5, 3}));
            }),
            "[matmul] the product has the shape (2, 3), the matrix to be transposed (2, 3)");
  EXPECT_EQ(error_of([] {
              transpose_plus_product(1, normal({3, 2}), normal({2, 5}), normal({4, 3}));
            }),
            "[matmul] inner sizes differ: (2, 5) x (4, 3)");
}

// ---- Batches ----------------------------------------------------------------------------------

struct BatchSizes {
  Index count, m, k, n;
};
// Many small ones, some that are cut into tiles, and empty ones.
const std::vector<BatchSizes> batch_sizes = {{1, 3, 5, 7},   {4, 1, 1, 1},   {5, 7, 3, 2},
                                             {300, 3, 4, 2}, {3, 33, 9, 65}, {2, 203, 13, 203}};
const std::vector<BatchSizes> empty_batch_sizes = {
    {0, 3, 5, 7}, {4, 0, 5, 7}, {4, 3, 0, 7}, {4, 3, 5, 0}, {0, 0, 0, 0}};

// f(a, b, count) in all modes, for two batches and for a batch beside a single matrix.
template <class F>
void for_each_batch_mode(const std::vector<BatchSizes>& sizes, F f) {
  for (const auto& [count, m, k, n] : sizes)
    for (int mode = 0; mode < 12; ++mode) {
      const bool transpose_a = mode & 1, transpose_b = mode & 2;
      const bool a_is_single = mode / 4 == 1, b_is_single = mode / 4 == 2;
      const auto operand = [count = count](Index rows, Index columns, bool is_transposed,
                                           bool is_single, std::uint64_t seed) -> Operand<Tensor> {
        if (is_transposed) std::swap(rows, columns);
        const Shape shape = is_single ? Shape{rows, columns} : Shape{count, rows, columns};
        return {normal(shape, seed), is_transposed};
      };
      const auto a = operand(m, k, transpose_a, a_is_single, 1);
      const auto b = operand(k, n, transpose_b, b_is_single, 2);
      std::ostringstream what;
      what << a.value.shape() << (transpose_a ? "^T" : "") << " x " << b.value.shape()
           << (transpose_b ? "^T" : "");
      SCOPED_TRACE(what.str());
      f(a, b, count);
    }
}

Operand<Tensor> matrix_of(const Operand<Tensor>& x, Index i) {
  if (x.value.rank() == 2) return x;
  return {reshape(slice(x.value, 0, i, i + 1), {x.value.size(1), x.value.size(2)}),
          x.is_transposed};
}

TEST(BatchedMatmul, EachMatrixIsAProductOfItsOwn) {
  for_each_batch_mode(batch_sizes, [](const auto& a, const auto& b, Index count) {
    const Tensor y = matmul(a, b), before = normal(y.shape(), 3);
    Tensor added = before;
    matmul_into(added, 1, a, b);
    ASSERT_EQ(y.size(0), count);
    for (Index i = 0; i < count; ++i) {
      const auto p = matrix_of(a, i), q = matrix_of(b, i);
      const auto of = [i](const Tensor& x) { return matrix_of(x, i).value; };
      ASSERT_TRUE(is_sum(of(y), 0, Tensor(), p, q)) << i;
      ASSERT_TRUE(is_sum(of(added), 1, of(before), p, q)) << i;
    }
  });
}

TEST(BatchedMatmul, GradientsAgreeWithDifferences) {
  for_each_batch_mode(batch_sizes, [](const auto& a, const auto& b, Index) {
    const auto report = check_gradients(a, b);
    EXPECT_TRUE(report) << report.failure;
  });
}

TEST(BatchedMatmul, AMatrixOfTwoProductsGetsTheSumOfTheirGradients) {
  for_each_batch_mode({{5, 7, 3, 2}}, [](const auto& a, const auto& b, Index) {
    const auto f = [&](const std::vector<Var>& in) {
      const Operand<Var> left{in[0], a.is_transposed}, right{in[1], b.is_transposed};
      return std::vector{matmul(left, right), matmul(left, right) * Var(Real(2))};
    };
    const auto report = gradcheck(f, {a.value, b.value});
    EXPECT_TRUE(report) << report.failure;
  });
}

TEST(BatchedMatmul, OfEmptyOperandsHasGradientsOfZeros) {
  for_each_batch_mode(empty_batch_sizes, [](const auto& a, const auto& b, Index) {
    const Var A = Var::leaf(a.value), B = Var::leaf(b.value);
    const Var y = matmul(Operand<Var>{A, a.is_transposed}, {B, b.is_transposed});
    const Gradients gradients = backward(y, normal(y.shape()));
    EXPECT_EQ(y.value().values(), std::vector<Real>(y.size(), 0));
    for (const Var& x : {A, B}) EXPECT_EQ(gradients[x].values(), std::vector<Real>(x.size(), 0));
  });
}

TEST(BatchedMatmul, HasTheSameBitsOnAnyNumberOfThreads) {
  const std::vector<BatchSizes> sizes = {{3000, 3, 4, 2}, {40, 33, 40, 64}, {3, 401, 40, 33}};
  for_each_batch_mode(sizes, [](const auto& a, const auto& b, Index) {
    expect_same_bits_on_any_threads([&] {
      const Var A = Var::leaf(a.value), B = Var::leaf(b.value);
      const Var y = matmul(Operand<Var>{A, a.is_transposed}, {B, b.is_transposed});
      const Gradients gradients = backward(y, y.value());
      return std::vector{y.value(), gradients[A], gradients[B]};
    });
  });
}

TEST(BatchedMatmul, NaNStaysInItsMatrix) {
  Tensor a = normal({4, 3, 5}), b = normal({4, 5, 2});
  a.mutable_data()[2 * 15] = nan;
  const Tensor y = matmul(a, b);
  for (Index i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i / 2 == 2 * 3) << i;
}

TEST(BatchedMatmul, BatchesAndSizesThatDifferAreNamed) {
  const Tensor a = normal({3, 2, 5}), b = normal({4, 5, 2});
  EXPECT_EQ(error_of([&] { matmul(a, b); }),
            "[matmul] batches of different sizes: (3, 2, 5) x (4, 5, 2)");
  EXPECT_EQ(error_of([&] {
              matmul(normal({1, 2, 5}), b);
            }),
            "[matmul] batches of different sizes: (1, 2, 5) x (4, 5, 2)");
  EXPECT_EQ(error_of([&] {
              matmul(Var(a), transposed(Var(normal({5, 2}))));
            }),
            "[matmul] inner sizes differ: (3, 2, 5) x (5, 2)^T");
  Tensor y = Tensor::full({2, 2}, 7);
  EXPECT_EQ(error_of([&] {
              matmul_into(y, 1, a, normal({5, 2}));
            }),
            "[matmul] the product has the shape (3, 2, 2), its place (2, 2)");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

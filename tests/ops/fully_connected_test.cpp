#include "backflow/ops/fully_connected.h"

#include <limits>
#include <numeric>

#include "backflow/engine/backward.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Tensor normal(const Shape& shape, std::uint64_t seed) { return Random(seed).normal(shape); }

struct Layer {
  Var x, W, b;
};
Layer layer_of(Index B, Index in, Index out) {
  return {Var::leaf(normal({B, in}, 1)), Var::leaf(normal({out, in}, 2)),
          Var::leaf(normal({out}, 3))};
}

// The value and the gradients of x, W and b, when y gets the gradient g.
std::vector<Tensor> all_of(const Layer& layer, const Var& y, const Tensor& g) {
  const Gradients gradients = backward(y, g);
  return {y.value(), gradients[layer.x], gradients[layer.W], gradients[layer.b]};
}

void expect_all_close(const std::vector<Tensor>& actual, const std::vector<Tensor>& expected) {
  const char* const names[] = {"y", "the gradient of x", "that of W", "that of b"};
  for (std::size_t i = 0; i < actual.size(); ++i)
    expect_close(actual[i], expected[i], in_double ? 1e-11 : 1e-3, names[i]);
}

const std::vector<Index> batches = {0, 1, 3, 300};

TEST(FullyConnectedOp, IsTheProductPlusTheBias) {
  for (Index B : batches) {
    const Layer layer = layer_of(B, 70, 33);
    const Tensor g = normal({B, 33}, 4);
    expect_all_close(all_of(layer, fully_connected(layer.x, layer.W, layer.b), g),
                     all_of(layer, matmul(layer.x, transposed(layer.W)) + layer.b, g));
  }
}

TEST(FullyConnectedOp, GradientsAgreeWithDifferences) {
  const auto f = [](const std::vector<Var>& in) {
    return std::vector{fully_connected(in[0], in[1], in[2])};
  };
  const auto report = gradcheck(f, {normal({3, 5}, 1), normal({4, 5}, 2), normal({4}, 3)});
  EXPECT_TRUE(report) << report.failure;
}

TEST(FullyConnectedOp, NamesShapesThatDoNotFit) {
  const auto with = [](const Shape& x, const Shape& W, const Shape& b) {
    return error_of([&] { fully_connected(Tensor::zeros(x), Tensor::zeros(W), Tensor::zeros(b)); });
  };
  EXPECT_EQ(with({5, 4}, {3, 2}, {3}),
            "[fully_connected] x (B, in), W (out, in) and b (out) expected, the shapes are (5, 4), "
            "(3, 2) and (3)");
  for (const auto& message : {with({4}, {3, 4}, {3}), with({5, 4}, {4}, {3}),
                              with({5, 4}, {3, 4}, {1}), with({5, 4}, {3, 4}, {1, 3})})
    EXPECT_NE(message.find("[fully_connected] x (B, in)"), message.npos) << message;
}

// ---- Staircases ---------------------------------------------------------------------------------

// Degrees of units, by which a mask is made and sorted. Unit i has the degree i * step modulo
// kinds.
struct Degrees {
  std::vector<Index> of;

  Degrees(Index units, Index kinds, Index step) {
    for (Index i = 0; i < units; ++i) of.push_back(i * step % kinds);
  }
  std::vector<Index> order(bool descending) const {
    std::vector<Index> units(of.size());
    std::iota(units.begin(), units.end(), Index{0});
    std::stable_sort(units.begin(), units.end(),
                     [&](Index a, Index b) { return descending ? of[a] > of[b] : of[a] < of[b]; });
    return units;
  }
};

struct Masked {
  Tensor mask;
  std::vector<Index> rows, columns;
};

Masked masked(Index in, Index out, bool descending = false, Index kinds = 50) {
  const Degrees inputs(in, kinds, 7), outputs(out, kinds, 11);
  Masked all{Tensor::empty({out, in}), outputs.order(descending), inputs.order(descending)};
  for (Index i = 0; i < out; ++i)
    for (Index j = 0; j < in; ++j)  // < : outputs of degree 0 read nothing
      all.mask.mutable_data()[i * in + j] = inputs.of[j] < outputs.of[i] ? 1 : 0;
  return all;
}

// Column i of the result is column order[i] of x.
Var in_order(const Var& x, const std::vector<Index>& order) {
  Tensor pick = Tensor::zeros({std::ssize(order), x.size(1)});
  for (Index i = 0; i < std::ssize(order); ++i) pick.set({i, order[i]}, 1);
  return matmul(x, transposed(Var(pick)));
}

Var through(const Layer& layer, const Staircase& staircase) {
  return fully_connected(layer.x, layer.W, layer.b, staircase, staircase.masked(layer.W.value()));
}

TEST(Staircase, LeavesOutNothingButZeros) {
  for (Index B : batches)
    for (bool descending : {false, true})
      for (Index in : {1, 60, 200})
        for (Index out : {1, 70, 700}) {
          SCOPED_TRACE(testing::Message()
                       << B << " x " << in << " -> " << out << ", " << descending);
          const Masked given = masked(in, out, descending);
          const Staircase staircase(given.mask, given.rows, given.columns);
          const Layer layer = layer_of(B, in, out);
          const Tensor g = normal({B, out}, 4);
          const Var dense = matmul(layer.x, transposed(layer.W * given.mask)) + layer.b;
          const Var sorted = in_order(layer.x, given.columns);
          const Var y = fully_connected(sorted, layer.W, layer.b, staircase,
                                        staircase.masked(layer.W.value()));
          expect_all_close(all_of(layer, y, g), all_of(layer, in_order(dense, given.rows), g));
        }
}

TEST(Staircase, WeightsBehindTheMaskHaveNoEffectAndNoGradient) {
  const Masked given = masked(200, 150);
  const Staircase staircase(given.mask, given.rows, given.columns);
  Layer layer = layer_of(9, 200, 150);
  Tensor bad = layer.W.value();
  for (Index i = 0; i < bad.size(); ++i)
    if (given.mask[i] == 0) bad.mutable_data()[i] = std::numeric_limits<Real>::quiet_NaN();
  const Tensor g = normal({9, 150}, 4);
  const Var y = through(layer, staircase);
  const std::vector<Tensor> expected = all_of(layer, y, g);
  layer.W = Var::leaf(bad);
  const Var other = through(layer, staircase);
  const std::vector<Tensor> actual = all_of(layer, other, g);
  for (std::size_t i = 0; i < actual.size(); ++i)
    EXPECT_EQ(actual[i].values(), expected[i].values());
  for (Index i = 0; i < bad.size(); ++i) EXPECT_TRUE(given.mask[i] != 0 || actual[2][i] == 0) << i;
}

TEST(Staircase, NeedsLittleMoreThanHalfOfALargeMatrix) {
  const auto area = [](const Masked& given) {
    return Staircase(given.mask, given.rows, given.columns).area();
  };
  EXPECT_NEAR(area(masked(256, 256)), 0.625, 0.02);
  EXPECT_NEAR(area(masked(256, 256, true)), 0.625, 0.02);
  EXPECT_NEAR(area(masked(256, 1472)), 0.5625, 0.02);
  Masked unsorted = masked(256, 256);
  std::iota(unsorted.rows.begin(), unsorted.rows.end(), Index{0});
  std::iota(unsorted.columns.begin(), unsorted.columns.end(), Index{0});
  EXPECT_GT(area(unsorted), 0.9);
}

TEST(Staircase, HasTheSameBitsOnAnyThreads) {
  const Masked given = masked(256, 700);
  const Staircase staircase(given.mask, given.rows, given.columns);
  const Layer layer = layer_of(600, 256, 700);
  const Tensor g = normal({600, 700}, 4);
  expect_same_bits_on_any_threads([&] { return all_of(layer, through(layer, staircase), g); });
}

TEST(Staircase, LivesAsLongAsItsGradientIsWanted) {
  const Layer layer = layer_of(5, 100, 90);
  const Masked given = masked(100, 90);
  auto staircase = std::make_unique<Staircase>(given.mask, given.rows, given.columns);
  const Var y = through(layer, *staircase);
  staircase.reset();
  EXPECT_EQ(backward(y, Tensor::full({5, 90}, 1))[layer.b].values(), std::vector<Real>(90, 5));
}

TEST(Staircase, RefusesWhatIsNoOrder) {
  const auto with = [](const Shape& mask, std::vector<Index> rows, std::vector<Index> columns) {
    return error_of([&] { Staircase(Tensor::zeros(mask), std::move(rows), std::move(columns)); });
  };
  EXPECT_EQ(with({3}, {0, 1, 2}, {0}), "[staircase] a mask (out, in) expected, the shape is (3)");
  EXPECT_EQ(with({2, 3}, {0, 1, 2}, {0, 1, 2}),
            "[staircase] an order of 2 outputs expected, got 3 of them");
  EXPECT_EQ(with({2, 3}, {0, 1}, {0, 1, 1}),
            "[staircase] an order of inputs must hold each of 0 ... 2 once");
  EXPECT_EQ(with({2, 3}, {0, -1}, {0, 1, 2}),
            "[staircase] an order of outputs must hold each of 0 ... 1 once");
  const Staircase staircase(Tensor::zeros({2, 3}), {0, 1}, {2, 1, 0});
  const Layer layer = layer_of(4, 3, 3);
  const Tensor square = Tensor::zeros({3, 3}), fitting = Tensor::zeros({2, 3});
  const KeptWeights masked = staircase.masked(fitting);
  EXPECT_EQ(error_of([&] { staircase.masked(square); }),
            "[staircase] the weights are (3, 3), their mask (2, 3)");
  EXPECT_EQ(error_of([&] { fully_connected(layer.x, layer.W, layer.b, staircase, masked); }),
            "[fully_connected] the weights are (3, 3), their mask (2, 3)");
  const Layer other = layer_of(4, 3, 2);
  EXPECT_EQ(error_of([&] { fully_connected(other.x, other.W, other.b, staircase, nullptr); }),
            "[fully_connected] 6 masked weights expected, got 0");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

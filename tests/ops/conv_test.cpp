// Convolutions of every shape that decides between the kernels, against the definition.
#include "backflow/ops/conv.h"

#include <chrono>

#include "backflow/ops/conv_kernels.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/ops/reduce.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Tensor normal(const Shape& shape, std::uint64_t seed) { return Random(seed).normal(shape); }

struct Case {
  Shape x, w;
  Conv2d options;
};
// Direct: few channels, output as large as the input.
const std::vector<Case> direct_cases = {{{3, 1, 5, 7}, {1, 1, 3, 3}, Conv2d::padded(1)},
                                        {{2, 4, 14, 14}, {4, 4, 3, 3}, Conv2d::padded(1)},
                                        {{35, 2, 3, 3}, {3, 2, 3, 3}, Conv2d::padded(1)},
                                        {{5, 3, 6, 5}, {2, 3, 5, 5}, Conv2d::padded(2)},
                                        {{2, 16, 7, 7}, {16, 16, 3, 3}, Conv2d::padded(1)},
                                        {{2, 3, 4, 6}, {9, 3, 1, 1}, {}},
                                        {{2, 1, 9, 8}, {2, 1, 7, 3}, {1, 3, 1, 3, 1}},
                                        {{2, 1, 6, 12}, {1, 1, 1, 11}, {1, 0, 5, 0, 5}},
                                        {{3, 4, 5, 5}, {4, 4, 2, 2}, {1, 1, 1, 0, 0}},
                                        {{1, 2, 1, 1}, {2, 2, 3, 3}, Conv2d::padded(1)}};
// Unfolding the input, or the output where that has fewer channels.
const std::vector<Case> unfolded_cases = {{{3, 2, 5, 6}, {4, 2, 3, 3}, {}},
                                          {{2, 3, 5, 6}, {2, 3, 3, 3}, Conv2d::padded(2)},
                                          {{2, 3, 7, 8}, {4, 3, 3, 3}, Conv2d::padded(1, 2)},
                                          {{2, 4, 8, 9}, {2, 4, 3, 2}, {3, 1, 0, 2, 1}},
                                          {{9, 5, 4, 4}, {130, 5, 3, 3}, Conv2d::padded(1)},
                                          {{9, 130, 4, 4}, {5, 130, 3, 3}, Conv2d::padded(1)},
                                          {{9, 40, 3, 4}, {41, 40, 1, 1}, {}},
                                          {{2, 40, 3, 4}, {20, 40, 1, 1}, {}},
                                          {{2, 2, 3, 3}, {3, 2, 1, 1}, Conv2d::padded(2)}};
// A product per row of the kernel, of the input or of the output.
const std::vector<Case> rows_cases = {{{9, 55, 4, 5}, {57, 55, 3, 3}, Conv2d::padded(1)},
                                      {{2, 60, 5, 4}, {54, 60, 3, 3}, Conv2d::padded(1)},
                                      {{2, 32, 6, 5}, {33, 32, 2, 5}, {1, 0, 2, 1, 3}},
                                      {{2, 54, 2, 3}, {55, 54, 3, 3}, Conv2d::padded(4)},
                                      {{2, 54, 5, 6}, {30, 54, 3, 3}, {}},
                                      {{3, 160, 5, 1}, {161, 160, 4, 1}, {1, 2, 0, 1, 0}}};

// Many outputs and many taps, or few large images: the outputs of a pixel in the lanes, of one
// block or several, full or not, of one strip or several.
const std::vector<Case> lanes_cases = {{{3, 3, 9, 13}, {24, 3, 5, 5}, {}},
                                       {{2, 24, 8, 15}, {26, 24, 3, 7}, {1, 1, 3, 1, 3}},
                                       {{5, 13, 7, 7}, {50, 13, 4, 4}, {1, 2, 1, 1, 3}},
                                       {{2, 2, 40, 31}, {13, 2, 4, 3}, {}},
                                       {{2, 12, 9, 9}, {61, 12, 5, 5}, Conv2d::padded(4)},
                                       {{2, 15, 4, 20}, {48, 15, 2, 11}, {1, 0, 5, 1, 5}},
                                       {{1, 2, 64, 66}, {12, 2, 3, 3}, Conv2d::padded(1)}};

std::vector<Case> all_cases() {
  std::vector<Case> all = direct_cases;
  for (const auto& cases : {unfolded_cases, rows_cases, lanes_cases})
    all.insert(all.end(), cases.begin(), cases.end());
  return all;
}

template <class F>
void for_each_case(const std::vector<Case>& cases, const F& f) {
  for (const Case& c : cases) {
    std::ostringstream what;
    what << c.x << " * " << c.w << ", stride " << c.options.stride;
    SCOPED_TRACE(what.str());
    f(c, normal(c.x, 1), normal(c.w, 2));
  }
}

// f(index in y, index in w, index in x) for each product of the definition.
template <class F>
void for_each_product(const Case& c, const Shape& y, const F& f) {
  const auto& [stride, top, left, bottom, right] = c.options;
  for (Index b = 0; b < y[0]; ++b)
    for (Index o = 0; o < y[1]; ++o)
      for (Index i = 0; i < y[2]; ++i)
        for (Index j = 0; j < y[3]; ++j)
          for (Index channel = 0; channel < c.x[1]; ++channel)
            for (Index u = 0; u < c.w[2]; ++u)
              for (Index v = 0; v < c.w[3]; ++v) {
                const Index row = i * stride + u - top, column = j * stride + v - left;
                if (row < 0 || row >= c.x[2] || column < 0 || column >= c.x[3]) continue;
                f(((b * y[1] + o) * y[2] + i) * y[3] + j,
                  ((o * c.x[1] + channel) * c.w[2] + u) * c.w[3] + v,
                  ((b * c.x[1] + channel) * c.x[2] + row) * c.x[3] + column);
              }
}

Shape output_shape(const Case& c) {
  const auto& [stride, top, left, bottom, right] = c.options;
  return {c.x[0], c.w[0], (c.x[2] + top + bottom - c.w[2]) / stride + 1,
          (c.x[3] + left + right - c.w[3]) / stride + 1};
}

constexpr double tolerance = in_double ? 1e-12 : 1e-4;

TEST(Conv2d, IsTheSumOfItsDefinition) {
  for_each_case(all_cases(), [](const Case& c, const Tensor& x, const Tensor& w) {
    Tensor expected = Tensor::zeros(output_shape(c));
    for_each_product(c, expected.shape(),
                     [&](Index y, Index k, Index p) { expected.mutable_data()[y] += w[k] * x[p]; });
    expect_close(conv2d(x, w, c.options), expected, tolerance, "y");
    const Tensor b = normal({c.w[0]}, 3);
    expect_close(conv2d(x, w, b, c.options), expected + b.reshape({c.w[0], 1, 1}), tolerance,
                 "y + b");
  });
}

TEST(Conv2d, GradientsAreTheAdjointsOfItsDefinition) {
  for_each_case(all_cases(), [](const Case& c, const Tensor& x, const Tensor& w) {
    const Tensor g = normal(output_shape(c), 3);
    Tensor dx = Tensor::zeros(c.x), dw = Tensor::zeros(c.w);
    for_each_product(c, g.shape(), [&](Index y, Index k, Index p) {
      dx.mutable_data()[p] += w[k] * g[y];
      dw.mutable_data()[k] += g[y] * x[p];
    });
    expect_close(conv2d_input_gradient(g, w, c.x, c.options), dx, tolerance, "dx");
    expect_close(conv2d_weight_gradient(g, x, c.w, c.options), dw, tolerance, "dw");
  });
}

TEST(Conv2d, GradientsAgreeWithDifferences) {
  const std::vector<Case> cases = {{{2, 2, 4, 5}, {3, 2, 3, 3}, Conv2d::padded(1)},
                                   {{2, 3, 4, 5}, {2, 3, 3, 2}, {2, 1, 0, 1, 1}}};
  for_each_case(cases, [](const Case& c, const Tensor& x, const Tensor& w) {
    const auto report = gradcheck(
        [&c](const std::vector<Var>& in) {
          return std::vector{conv2d(in[0], in[1], in[2], c.options)};
        },
        {x, w, normal({c.w[0]}, 3)});
    EXPECT_TRUE(report) << report.failure;
    const auto unbiased = gradcheck(
        [&c](const std::vector<Var>& in) { return std::vector{conv2d(in[0], in[1], c.options)}; },
        {x, w});
    EXPECT_TRUE(unbiased) << unbiased.failure;
  });
}

TEST(Conv2d, SameBitsOnAnyThreads) {
  for_each_case(all_cases(), [](const Case& c, const Tensor& x, const Tensor& w) {
    const Tensor g = normal(output_shape(c), 3);
    expect_same_bits_on_any_threads([&] {
      return std::vector{conv2d(x, w, c.options), conv2d_input_gradient(g, w, c.x, c.options),
                         conv2d_weight_gradient(g, x, c.w, c.options)};
    });
  });
}

template <class F>
double least_seconds(const F& f) {
  double least = 1e9;
  for (int i = 0; i < 20; ++i) {
    const auto start = std::chrono::steady_clock::now();
    f();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    least = std::min(least, took.count());
  }
  return least;
}

// What they are for; their sums leave the registers when a pack is larger than a register is.
TEST(Conv2d, DirectKernelsAreTheFasterOnesOfFewChannels) {
  if (sanitized) GTEST_SKIP() << "the sanitizers' time is not the library's";
  const WithThreads one(1);
  const Conv2d options = Conv2d::padded(1);
  const Tensor x = normal({50, 8, 14, 14}, 1), w = normal({8, 8, 3, 3}, 2), bias = normal({8}, 3);
  const ConvGeometry g(x.shape(), w.shape(), options);
  ASSERT_TRUE(g.direct());
  const Tensor d = normal(g.output(), 4);
  EXPECT_LT(least_seconds([&] { direct_conv(x, w, bias, g); }),
            least_seconds([&] { unfolded_conv(x, w, bias.data(), g); }));
  EXPECT_LT(least_seconds([&] { direct_weight_gradient(d, x, g); }),
            least_seconds([&] { unfolded_weight_gradient(d, x, g); }));
}

TEST(Conv2d, SamePaddingKeepsTheSize) {
  const Tensor w = normal({2, 3, 5, 3}, 1);
  EXPECT_EQ(conv2d(normal({4, 3, 6, 7}, 2), w, Conv2d::same(w.shape())).shape(),
            (Shape{4, 2, 6, 7}));
}

TEST(Conv2d, AcceptsEmptyBatches) {
  const Tensor w = normal({2, 3, 3, 3}, 1), x = Tensor::zeros({0, 3, 5, 5});
  const Tensor y = conv2d(x, w, Conv2d::padded(1));
  EXPECT_EQ(y.shape(), (Shape{0, 2, 5, 5}));
  EXPECT_EQ(conv2d_input_gradient(y, w, x.shape(), Conv2d::padded(1)).shape(), x.shape());
  const Tensor dw = conv2d_weight_gradient(y, x, w.shape(), Conv2d::padded(1));
  EXPECT_EQ(dw.values(), Tensor::zeros(w.shape()).values());
}

TEST(Conv2d, NanStaysNan) {
  for (const Index channels : {1, 40}) {
    Tensor x = Tensor::zeros({1, channels, 4, 4});
    x.mutable_data()[5] = std::numeric_limits<Real>::quiet_NaN();
    const Tensor w = normal({channels, channels, 3, 3}, 1);
    EXPECT_TRUE(std::isnan(conv2d(x, w, Conv2d::padded(1))[5])) << channels << " channels";
  }
}

TEST(Conv2d, FlippedKernelIsTheTransposedMatrix) {
  const Tensor w = normal({3, 2, 3, 5}, 1), x = normal({2, 2, 6, 7}, 2),
               g = normal({2, 3, 6, 7}, 3);
  const Real forward = sum(conv2d(x, w, Conv2d::same(w.shape())) * g).item();
  const Tensor flipped = flip_kernel(w);
  const Real backward = sum(conv2d(g, flipped, Conv2d::same(flipped.shape())) * x).item();
  EXPECT_NEAR(forward, backward, 100 * tolerance);
}

TEST(Conv2d, ErrorsNameTheShapes) {
  const auto error = [](const Shape& x, const Shape& w, const Conv2d& options) {
    return error_of([&] { conv2d(Tensor::zeros(x), Tensor::zeros(w), options); });
  };
  EXPECT_EQ(error({2, 3, 4, 4}, {5, 2, 3, 3}, {}),
            "[conv2d] channels differ: images (2, 3, 4, 4), kernels (5, 2, 3, 3)");
  EXPECT_EQ(error({2, 3, 4}, {5, 3, 3, 3}, {}),
            "[conv2d] images (B, C, H, W) and kernels (O, C, K, L) expected: (2, 3, 4) and "
            "(5, 3, 3, 3)");
  EXPECT_EQ(error({2, 3, 4, 2}, {5, 3, 3, 3}, {}),
            "[conv2d] kernels (5, 3, 3, 3) do not fit the padded images of (2, 3, 4, 2)");
  EXPECT_EQ(error({2, 3, 4, 4}, {5, 3, 3, 3}, {0}),
            "[conv2d] a positive stride and no negative padding expected");
  EXPECT_EQ(error_of([] {
              conv2d(Tensor::zeros({2, 3, 4, 4}), Tensor::zeros({5, 3, 3, 3}), Tensor::zeros({4}));
            }),
            "[conv2d] the bias has the shape (4), expected (5)");
  EXPECT_EQ(error_of([] {
              conv2d_weight_gradient(Tensor::zeros({2, 5, 4, 4}), Tensor::zeros({2, 3, 4, 4}),
                                     {5, 3, 3, 3});
            }),
            "[conv2d] the gradient has the shape (2, 5, 4, 4), expected (2, 5, 2, 2)");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

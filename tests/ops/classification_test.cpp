// The loss and the score of a classifier, against log_softmax and argmax.
#include "backflow/ops/classification.h"

#include <cmath>
#include <limits>

#include "backflow/ops/axis.h"
#include "backflow/ops/gradcheck.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/random.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Limits = std::numeric_limits<Real>;
constexpr Real nan = Limits::quiet_NaN(), inf = Limits::infinity();

struct Sizes {
  Index examples, classes;
};
const std::vector<Sizes> sizes = {{1, 1}, {1, 2}, {7, 1}, {5, 3}, {100, 10}, {3, 8209}, {9001, 2}};

Tensor logits_of(const Sizes& s) { return Random(1).normal({s.examples, s.classes}); }

std::vector<Index> labels_of(const Sizes& s) {
  std::vector<Index> labels;
  for (Index i = 0; i < s.examples; ++i) labels.push_back(7919 * (i + 1) % s.classes);
  return labels;
}

TEST(CrossEntropy, IsTheMeanOfMinusTheLogOfTheLabelsProbability) {
  for (const Sizes& s : sizes) {
    const Tensor x = logits_of(s), log_p = log_softmax(x, 1);
    const std::vector<Index> labels = labels_of(s);
    double sum = 0;
    for (Index i = 0; i < s.examples; ++i) sum -= log_p[i * s.classes + labels[i]];
    const double expected = sum / static_cast<double>(s.examples);
    EXPECT_NEAR(cross_entropy(x, labels).item(), expected, 20 * Limits::epsilon()) << x.shape();
    EXPECT_EQ(cross_entropy(Var(x), labels).item(), cross_entropy(x, labels).item());
  }
}

TEST(CrossEntropy, OfEqualLogitsIsTheLogOfTheNumberOfClasses) {
  for (Real shared : {Real(0), Real(1e6), Real(-1e6), Limits::max(), Limits::lowest()})
    EXPECT_NEAR(cross_entropy(Tensor::full({3, 10}, shared), {0, 5, 9}).item(), std::log(10.0),
                4 * Limits::epsilon());
}

TEST(CrossEntropy, GradientIsSoftmaxMinusOneHotOverTheBatch) {
  for (const Sizes& s : sizes) {
    const Var x = Var::leaf(logits_of(s));
    const std::vector<Index> labels = labels_of(s);
    const Tensor found = backward(cross_entropy(x, labels) * Var(Real(3)))[x];
    const Tensor p = softmax(x.value(), 1);
    for (Index i = 0; i < found.size(); ++i) {
      const double hot = labels[i / s.classes] == i % s.classes;
      ASSERT_NEAR(found[i], 3 * (p[i] - hot) / s.examples, 20 * Limits::epsilon()) << x.shape();
    }
  }
}

TEST(CrossEntropy, GradientsAgreeWithDifferences) {
  for (const Sizes& s : std::vector<Sizes>{{1, 2}, {5, 3}, {100, 10}, {3, 700}}) {
    const auto f = [&](const Var& x) { return cross_entropy(x, labels_of(s)); };
    const auto report = gradcheck(f, logits_of(s));
    EXPECT_TRUE(report) << s.examples << ' ' << s.classes << ": " << report.failure;
  }
}

TEST(CrossEntropy, OfOneClassIsZeroWithGradientZero) {
  const Var x = Var::leaf(Tensor({2, 1}, {5, -1000}));
  const Var loss = cross_entropy(x, {0, 0});
  EXPECT_EQ(loss.item(), 0);
  EXPECT_EQ(backward(loss)[x].values(), (std::vector<Real>{0, 0}));
}

TEST(CrossEntropy, OfFarLogitsIsTheirDistanceWithFiniteGradients) {
  const Var x = Var::leaf(Tensor({2, 2}, {1000, -1000, -1000, 1000}));
  const Var loss = cross_entropy(x, {1, 1});
  EXPECT_EQ(loss.item(), 1000);
  EXPECT_EQ(backward(loss)[x].values(), (std::vector<Real>{0.5, -0.5, 0, 0}));
}

TEST(CrossEntropy, OfInfinitiesAndNaNIsWhatTheFormulaSays) {
  const auto loss = [](std::vector<Real> row) {
    return cross_entropy(Tensor({1, 3}, row), {1}).item();
  };
  EXPECT_EQ(loss({0, -inf, 0}), inf);
  EXPECT_NEAR(loss({0, 0, -inf}), std::log(2.0), 2 * Limits::epsilon());
  for (std::vector<Real> row : std::vector<std::vector<Real>>{
           {nan, 0, 0}, {0, nan, 0}, {0, 0, nan}, {inf, 0, 0}, {0, inf, 0}, {-inf, -inf, -inf}})
    EXPECT_TRUE(std::isnan(loss(row))) << row[0] << ' ' << row[1] << ' ' << row[2];
  const Var x = Var::leaf(Tensor({2, 3}, {0, nan, 0, 1, 1, 1}));
  const Tensor g = backward(cross_entropy(x, {0, 0}))[x];
  for (Index i = 0; i < 6; ++i) EXPECT_EQ(std::isnan(g[i]), i < 3) << i;
}

TEST(CrossEntropy, HasTheSameBitsOnAnyNumberOfThreads) {
  const Sizes s{9001, 10};
  const Tensor logits = logits_of(s);
  expect_same_bits_on_any_threads([&] {
    const Var x = Var::leaf(logits), loss = cross_entropy(x, labels_of(s));
    return std::vector{loss.value(), backward(loss)[x]};
  });
}

TEST(CrossEntropy, WrongLabelsAndShapesAreNamed) {
  const Tensor x = Tensor::zeros({3, 10});
  const std::string classes = ", expected a class of 0 to 9 for logits of the shape (3, 10)";
  EXPECT_EQ(error_of([&] {
              cross_entropy(x, {0, 10, 2});
            }),
            "[cross_entropy] label 1 is 10" + classes);
  EXPECT_EQ(error_of([&] {
              cross_entropy(Var(x), {0, 1, -1});
            }),
            "[cross_entropy] label 2 is -1" + classes);
  EXPECT_EQ(error_of([&] { accuracy(x, {11, 10, 2}); }), "[accuracy] label 0 is 11" + classes);
  EXPECT_EQ(error_of([&] {
              cross_entropy(x, {0, 1});
            }),
            "[cross_entropy] 2 labels for logits of the shape (3, 10), expected 3");
  EXPECT_EQ(error_of([&] {
              cross_entropy(Tensor::zeros({3}), {0, 1, 2});
            }),
            "[cross_entropy] logits (B, K) expected, the shape is (3)");
  EXPECT_EQ(error_of([&] {
              cross_entropy(Tensor::zeros({0, 10}), {});
            }),
            "[cross_entropy] no examples in logits of the shape (0, 10)");
  EXPECT_NE(error_of([&] { cross_entropy(Tensor::zeros({1, 0}), {0}); }), "no error");
  EXPECT_EQ(error_of([&] {
              accuracy(Tensor::zeros({0, 10}), {});
            }),
            "[accuracy] no examples in logits of the shape (0, 10)");
  EXPECT_NE(error_of([&] { cross_entropy(Var(), {}); }), "no error");
}

TEST(Accuracy, IsTheFractionOfLabelsThatArgmaxNames) {
  for (const Sizes& s : sizes) {
    const Tensor x = logits_of(s), best = argmax(x, 1);
    std::vector<Index> labels;
    for (Real place : best.values()) labels.push_back(static_cast<Index>(place));
    EXPECT_EQ(accuracy(x, labels), 1);
    if (s.classes == 1) continue;
    labels[0] = (labels[0] + 1) % s.classes;
    EXPECT_EQ(accuracy(x, labels), static_cast<double>(s.examples - 1) / s.examples);
  }
}

TEST(Accuracy, OfTiesCountsTheFirstAndOfNaNNone) {
  const Tensor ties({1, 3}, {1, 2, 2});
  EXPECT_EQ(accuracy(ties, {1}), 1);
  EXPECT_EQ(accuracy(ties, {2}), 0);
  for (Index bad : {0, 1, 2})
    for (Index label : {0, 1, 2}) {
      Tensor row({1, 3}, {1, 2, 3});
      row.mutable_data()[bad] = nan;
      EXPECT_EQ(accuracy(row, {label}), 0) << bad << ' ' << label;
    }
  EXPECT_EQ(accuracy(Tensor({2, 2}, {-inf, inf, -inf, -inf}), {1, 0}), 1);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

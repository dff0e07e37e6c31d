#include "backflow/flows/conditioners/initializers.h"

#include <limits>

#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct Moments {
  double mean = 0, variance = 0, kurtosis = 0, most = 0;
};

Moments moments_of(const Tensor& x) {
  Moments m;
  const double n = static_cast<double>(x.size());
  double fourth = 0;
  for (Index i = 0; i < x.size(); ++i) {
    const double v = x[i];
    m.mean += v / n, m.variance += v * v / n, fourth += v * v * v * v / n;
    m.most = std::max(m.most, std::abs(v));
  }
  m.kurtosis = fourth / (m.variance * m.variance);
  return m;
}

enum class Kind { uniform, normal };

// Around 0 with this variance; uniform numbers have the kurtosis 9/5 and a bound of sqrt(3)
// standard deviations, which many of them nearly reach; normal ones have 3 and no bound.
void expect_moments(const Tensor& x, double variance, Kind kind) {
  const Moments m = moments_of(x);
  const double n = static_cast<double>(x.size()), deviation = std::sqrt(variance);
  const double kurtosis = kind == Kind::uniform ? 1.8 : 3;
  EXPECT_NEAR(m.mean, 0, 4 * deviation / std::sqrt(n));
  EXPECT_NEAR(m.variance, variance, 4 * variance * std::sqrt((kurtosis - 1) / n));
  EXPECT_NEAR(m.kurtosis, kurtosis, 40 / std::sqrt(n));
  if (kind == Kind::uniform) {
    EXPECT_LE(m.most, std::sqrt(3) * deviation * (1 + 1e-6));
    EXPECT_GE(m.most, std::sqrt(3) * deviation * 0.999);
  } else {
    EXPECT_GE(m.most, 3.5 * deviation);
  }
}

struct Case {
  const char* name;
  Initializer initial;
  Kind kind;
  double (*variance)(double fan_in, double fan_out);
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"torch", torch_default, Kind::uniform, [](double in, double) { return 1 / (3 * in); }},
      {"glorot uniform", glorot_uniform, Kind::uniform,
       [](double in, double out) { return 2 / (in + out); }},
      {"glorot normal", glorot_normal, Kind::normal,
       [](double in, double out) { return 2 / (in + out); }},
      {"he uniform", he_uniform, Kind::uniform, [](double in, double) { return 2 / in; }},
      {"he normal", he_normal, Kind::normal, [](double in, double) { return 2 / in; }},
  };
  return all;
}

TEST(Initializers, WeightsHaveTheVarianceAndTheBoundTheyClaim) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    expect_moments(c.initial({300, 100}, Random(3))[0], c.variance(100, 300), c.kind);
    expect_moments(c.initial({150, 20, 3, 3}, Random(3))[0], c.variance(180, 1350), c.kind);
  }
}

TEST(Initializers, OnlyTorchsBiasIsRandom) {
  const Tensor bias = torch_default({20000, 50}, Random(5))[1];
  EXPECT_EQ(bias.shape(), Shape{20000});
  expect_moments(bias, 1 / 150.0, Kind::uniform);
  for (const Case& c : cases()) {
    const bool is_zero = c.initial({2, 3}, Random(5))[1].values() == std::vector<Real>(2, 0);
    EXPECT_EQ(is_zero, c.name != std::string("torch")) << c.name;
  }
  EXPECT_EQ(orthogonal()({2, 3}, Random(5))[1].values(), std::vector<Real>(2, 0));
}

TEST(Initializers, FollowTheSeedAndNothingElse) {
  std::vector<Case> all = cases();
  all.push_back({"orthogonal", orthogonal(), Kind::normal, nullptr});
  for (const Case& c : all) {
    const auto of_seed = [&](int seed) { return c.initial({5, 7}, Random(seed))[0].values(); };
    EXPECT_EQ(of_seed(1), of_seed(1)) << c.name;
    EXPECT_NE(of_seed(1), of_seed(2)) << c.name;
  }
  const auto [weight, bias] = torch_default({4, 1}, Random(1));
  EXPECT_NE(weight.values(), bias.values()) << "numbers of their own";
}

void expect_orthonormal(const Tensor& q, double gain, const char* what) {
  const Tensor product = matmul(q, transposed(q));
  expect_close(product, Tensor::identity(q.size(0)) * static_cast<Real>(gain * gain),
               in_double ? 1e-12 : 1e-5, what);
}

TEST(Initializers, OrthogonalRowsOrColumnsWhicheverAreFewer) {
  for (const double gain : {1.0, std::sqrt(2), -3.0}) {
    const Initializer initial = orthogonal(gain);
    expect_orthonormal(initial({6, 6}, Random(1))[0], gain, "square");
    expect_orthonormal(initial({3, 40}, Random(1))[0], gain, "wide");
    expect_orthonormal(transpose(initial({40, 3}, Random(1))[0]), gain, "tall");
    const Tensor kernel = initial({8, 2, 3, 3}, Random(1))[0];
    ASSERT_EQ(kernel.shape(), Shape({8, 2, 3, 3}));
    expect_orthonormal(kernel.reshape({8, 18}), gain, "a convolution's");
  }
  EXPECT_EQ(std::abs(orthogonal()({1, 1}, Random(1))[0].item()), 1);
}

TEST(Initializers, RefuseWhatIsNoWeight) {
  std::vector<Case> all = cases();
  all.push_back({"orthogonal", orthogonal(), Kind::normal, nullptr});
  for (const Case& c : all)
    for (const Shape& shape : {Shape{}, Shape{3}, Shape{0, 3}, Shape{3, 0}})
      EXPECT_NE(error_of([&] {
                  c.initial(shape, Random(1));
                }).find("[initializer] a weight (out, in) or (out, in, K, L) with values expected"),
                std::string::npos)
          << c.name << ' ' << shape;
  EXPECT_EQ(error_of([] { orthogonal(0); }),
            "[orthogonal] a finite gain other than 0 expected, got 0");
  EXPECT_NE(error_of([] { orthogonal(std::numeric_limits<double>::infinity()); }), "no error");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

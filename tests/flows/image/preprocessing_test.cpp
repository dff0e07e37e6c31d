// From pixels to unbounded reals: what holds for all flows, and the noise between two pixel values.
#include "backflow/flows/image/preprocessing.h"

#include <limits>

#include "backflow/flows/sequential.h"
#include "backflow/tests/flows/check_flow.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Limits = std::numeric_limits<Real>;
constexpr Real inf = Limits::infinity();
const std::vector<Shape> shapes = {{4, 7}, {3, 1, 2, 3}, {5}, {1, 1}};

// Away from the ends, where a float says little about its logit.
Tensor inside(const Shape& shape, double low, double high) {
  return Random(1).uniform(shape) * (high - low) + low;
}

std::unique_ptr<Sequential> pixels_to_reals() {
  std::vector<std::unique_ptr<Flow>> layers;
  layers.push_back(std::make_unique<Normalization>(0, 256));
  layers.push_back(std::make_unique<Normalization>(-1e-6, 1 / (1 - 2e-6)));
  layers.push_back(std::make_unique<Logit>());
  return std::make_unique<Sequential>(std::move(layers));
}

TEST(Normalization, IsAFlow) {
  const Tensor extremes({2, 3}, {0, 1e30, -1e30, 1e-30, -1e9, 1});
  for (const Shape& shape : shapes) {
    check_flow("down", Normalization(0, 256), inside(shape, 0, 256), extremes);
    check_flow("up", Normalization(-1.5, 0.01), inside(shape, -3, 3), extremes);
    check_flow("mirrored", Normalization(2, -3), inside(shape, -3, 3), extremes);
  }
}

TEST(Normalization, ByZeroIsRefused) {
  EXPECT_EQ(error_of([] { Normalization(1, 0); }),
            "[normalization] a scale of 0 cannot be inverted");
  constexpr double inf = std::numeric_limits<double>::infinity();
  EXPECT_EQ(error_of([] { Normalization(0, inf); }),
            "[normalization] a finite translation and scale expected, got 0 and inf");
  EXPECT_EQ(error_of([] { Normalization(-inf, 2); }),
            "[normalization] a finite translation and scale expected, got -inf and 2");
}

TEST(Logit, IsAFlow) {
  const Real almost_1 = 1 - Limits::epsilon();
  for (const Shape& shape : shapes)
    check_flow("logit", Logit(), inside(shape, 0.05, 0.95),
               Tensor({2, 2}, {1e-30, 0.5, almost_1, 1e-7}));
}

TEST(Logit, IsInfiniteAtTheEndsAndNaNBeyond) {
  const Out out = Logit().forward(Tensor({4, 1}, {0, 1, -0.5, 1.5}));
  EXPECT_EQ(out.z.value()[0], -inf);
  EXPECT_EQ(out.z.value()[1], inf);
  for (Index i : {0, 1}) EXPECT_EQ(out.logdet.value()[i], inf);
  for (Index i : {2, 3}) EXPECT_TRUE(std::isnan(out.z.value()[i]));
  for (Index i : {2, 3}) EXPECT_TRUE(std::isnan(out.logdet.value()[i]));
}

TEST(Sigmoid, IsAFlow) {
  const Tensor extremes({2, 4}, {0, 50, -50, 1e4, -1e4, 1e30, -1e30, 1e-30});
  for (const Shape& shape : shapes)
    check_flow("sigmoid", Sigmoid(), inside(shape, -4, 4), extremes);
}

TEST(Sigmoid, UndoesTheLogit) {
  const Tensor x = inside({3, 5}, 0.01, 0.99);
  const Out there = Logit().forward(x), back = Sigmoid().forward(there.z);
  expect_close(back.z.value(), x, 10 * Limits::epsilon(), "x");
  expect_close((there.logdet + back.logdet).value(), Tensor::zeros({3}), 1e3 * Limits::epsilon(),
               "the sum of the log-determinants");
}

TEST(Preprocessing, IsAFlow) {
  for (const Shape& shape : shapes)
    check_flow("pixels to reals", *pixels_to_reals(), inside(shape, 16, 240),
               Tensor({2, 2}, {0, 1e-3, 128, 255.99}));
}

TEST(Preprocessing, HasNoParameters) { EXPECT_TRUE(pixels_to_reals()->parameters().empty()); }

// ---- Dequantization ---------------------------------------------------------------------------

Tensor noise_of(const Shape& shape, const Random& random,
                std::vector<std::uint32_t> examples = {}) {
  Pass pass;
  pass.noise = random;
  pass.examples = std::move(examples);
  return Dequantization().forward(Tensor::zeros(shape), pass).z.value();
}

Random noise(std::uint64_t seed, std::uint32_t epoch = 0) {
  return Random(seed, Purpose{2}, epoch);
}

// Every pixel value, each with 8,000 different noises.
TEST(Dequantization, InverseGivesThePixelsBack) {
  const Index repeats = 8000;
  Tensor pixels = Tensor::empty({repeats, 256});
  for (Index i = 0; i < pixels.size(); ++i) pixels.mutable_data()[i] = i % 256;
  Pass pass;
  pass.noise = noise(1);
  const Tensor z = Dequantization().forward(pixels, pass).z.value();
  EXPECT_EQ(Dequantization().inverse(z).values(), pixels.values());
  EXPECT_EQ(Dequantization().inverse(Dequantization().forward(pixels).z.value()).values(),
            pixels.values());
}

TEST(Dequantization, NoiseIsUniform) {
  const Tensor u = noise_of({100, 1000}, noise(1));
  for (Real value : u.values()) ASSERT_TRUE(value >= 0 && value < 1) << value;
  const double standard_error = std::sqrt(1 / 12.0 / u.size());
  EXPECT_NEAR(mean(u).item(), 0.5, 4 * standard_error);
  EXPECT_NEAR(mean(u * u).item(), 1 / 3.0, 4 * standard_error);
}

TEST(Dequantization, HasLogdetZeroAndPassesTheGradientOn) {
  const Var x = Var::leaf(Tensor::full({2, 1, 3, 3}, 7));
  Pass pass;
  pass.noise = noise(1);
  const Out out = Dequantization().forward(x, pass);
  EXPECT_EQ(out.z.shape(), x.shape());
  EXPECT_EQ(out.logdet.value().values(), std::vector<Real>(2, 0));
  const Tensor seed = Random(2).normal(x.shape());
  EXPECT_EQ(backward(out.z, seed)[x].values(), seed.values());
}

TEST(Dequantization, WithoutNoiseIsTheMidpoint) {
  const Out out = Dequantization().forward(Tensor({2, 2}, {0, 1, 254, 255}));
  EXPECT_EQ(out.z.value().values(), (std::vector<Real>{0.5, 1.5, 254.5, 255.5}));
}

TEST(Dequantization, NoiseIsAFunctionOfSeedEpochAndExample) {
  const Shape shape{3, 17};
  const auto first = noise_of(shape, noise(1)).values();
  EXPECT_EQ(noise_of(shape, noise(1)).values(), first);
  EXPECT_NE(noise_of(shape, noise(2)).values(), first);
  EXPECT_NE(noise_of(shape, noise(1, 1)).values(), first);
  EXPECT_NE(noise_of(shape, noise(1), {3, 4, 5}).values(), first);
  EXPECT_EQ(noise_of(shape, noise(1), {0, 1, 2}).values(), first);
}

TEST(Dequantization, NoiseDoesNotDependOnBatching) {
  const Index width = 2 * 3 * 5;
  const std::vector<std::uint32_t> examples = {70000, 3, 11, 0, 4000000000, 12};
  const auto batch = noise_of({6, 2, 3, 5}, noise(1), examples).values();
  for (std::size_t i = 0; i < examples.size(); ++i)
    EXPECT_EQ(noise_of({1, 2, 3, 5}, noise(1), {examples[i]}).values(),
              std::vector(batch.begin() + i * width, batch.begin() + (i + 1) * width));
}

TEST(Dequantization, WrongNumberOfExamplesFails) {
  EXPECT_EQ(error_of([] {
              noise_of({3, 4}, noise(1), {1, 2});
            }),
            "[dequantization] the pass names 2 examples, the shape is (3, 4)");
  EXPECT_EQ(error_of([] {
              noise_of({0, 4}, noise(1), {1});
            }),
            "[dequantization] the pass names 1 examples, the shape is (0, 4)");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

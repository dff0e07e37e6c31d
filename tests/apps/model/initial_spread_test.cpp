// How widely a model's first parameters are spread, against their definitions: published numbers
// depend on them, and a wrong one would only train a little worse.
#include <cmath>

#include "backflow/apps/data/purposes.h"
#include "backflow/tests/apps/model/small_model.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Real rounding = sizeof(Real) == sizeof(double) ? 1e-15 : 1e-6;

// The standard normal numbers of a layer's tensor number `which`.
std::vector<Real> normal(std::uint32_t layer, std::uint32_t which, Index count) {
  const Random random(0, purposes::initialization, layer);
  return random.normal({1, count}, which << 20).values();
}

// parameter = offset(i) + spread * numbers.
template <class Offset>
void expect_spread(const Model& model, const std::string& name, const std::vector<Real>& numbers,
                   double spread, const Offset& offset) {
  const std::vector<Real> values = parameter_of(model, name).value().values();
  ASSERT_EQ(values.size(), numbers.size()) << name;
  for (std::size_t i = 0; i < values.size(); ++i)
    EXPECT_NEAR(values[i], offset(i) + spread * numbers[i], rounding) << name << " " << i;
}
void expect_spread(const Model& model, const std::string& name, const std::vector<Real>& numbers,
                   double spread) {
  expect_spread(model, name, numbers, spread, [](std::size_t) { return 0.0; });
}

double standard_deviation(const std::vector<Real>& values) {
  const auto n = static_cast<double>(values.size());
  double sum = 0, squares = 0;
  for (Real value : values) sum += value;
  for (Real value : values) squares += (value - sum / n) * (value - sum / n);
  return std::sqrt(squares / (n - 1));
}

Config two_blocks(const std::string& experiment) {
  Config config = find_experiment(experiment).config;
  config.num_blocks = 2, config.block_size = 1, config.width = 4;
  return config;
}

TEST(InitialSpread, OfSplinesIsAHundredth) {
  for (const std::string experiment : {"selfnorm_cnn_mnist", "exact_cnn_mnist"}) {
    const Model model(two_blocks(experiment), small_image);  // 4 a convolution, 5 a spline
    constexpr std::uint32_t layer = 1;
    constexpr Index bins = 5;
    expect_spread(model, "5.unnormalized_widths", normal(layer, 0, 16 * bins), 0.01);
    expect_spread(model, "5.unnormalized_heights", normal(layer, 1, 16 * bins), 0.01);
    expect_spread(model, "5.unnormalized_derivatives", normal(layer, 2, 16 * (bins - 1)), 0.01);
  }
}

TEST(InitialSpread, OfFullyConnectedBiasesIsThatOfTheIdentitysEntries) {
  const double n = small_size * small_size, ones = small_size;
  const double spread = std::sqrt(ones / n - ones / n * (ones / n));  // of 16 ones among 256
  for (const std::string layer : {"exact", "self_normalizing"}) {
    const Model model(small_config(layer), small_image);
    expect_spread(model, "4.bias_fwd", normal(0, 0, small_size), spread);
    expect_spread(model, "6.bias_fwd", normal(1, 0, small_size), spread);
  }
}

// Xavier's normal with a gain of 0.01, for C K K inputs and outputs, around Dirac's kernel.
TEST(InitialSpread, OfConvolutionsIsAHundredthOfXaviersAndTheirBiasIsAsWide) {
  const Model model(two_blocks("selfnorm_cnn_mnist"), small_image);
  constexpr Index C = 4, K = 3;  // of the second block: layers 4 + 3
  constexpr std::uint32_t layer = 3;
  const double spread = 0.01 * std::sqrt(2.0 / (2 * C * K * K));
  const std::vector<Real> numbers = normal(layer, 1, C * C * K * K);
  expect_spread(model, "7.weight_fwd", numbers, spread, [](std::size_t i) {
    const std::size_t tap = i % (K * K), in = i / (K * K) % C, out = i / (K * K) / C;
    return tap == K * K / 2 && in == out ? 1.0 : 0.0;
  });
  expect_spread(model, "7.bias_fwd", normal(layer, 2, C), spread * standard_deviation(numbers));
}

TEST(InitialSpread, OfOneByOneConvolutionsBiasIsAHundredthOfXaviersToo) {
  const Model model(two_blocks("selfnorm_glow_mnist"), small_image);  // 6: behind squeeze, ActNorm
  constexpr Index C = 4;
  constexpr std::uint32_t layer = 2;
  const double spread = 0.01 * std::sqrt(1.0 / C) * standard_deviation(normal(layer, 1, C * C));
  expect_spread(model, "6.bias_fwd", normal(layer, 2, C), spread);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

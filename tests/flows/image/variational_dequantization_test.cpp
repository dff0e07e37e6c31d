#include "backflow/flows/image/variational_dequantization.h"

#include "backflow/flows/bases.h"
#include "backflow/flows/coupling/flowpp.h"
#include "backflow/flows/density.h"
#include "backflow/tests/flows/check_zoo.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Index levels = 4;

// Of examples of D numbers, with parameters at random.
std::unique_ptr<Flow> dequantization(Index D, double size = 0.2) {
  const FlowppOptions options{
      .layers = 2, .net = {.hidden = {9}, .activation = tanh}, .components = 3};
  std::unique_ptr<Flow> flow = flowpp_dequantization(D, levels, options, Random(1));
  randomize(*flow, Random(2), size);
  return flow;
}

// Whole numbers 0, ..., levels - 1.
Tensor pixels(const Shape& shape, std::uint64_t seed = 3) {
  return pointwise(Random(seed).uniform(shape), [](Real u) { return std::floor(u * levels); });
}

Pass with_noise(std::uint64_t seed = 4) {
  Pass pass;
  pass.noise = Random(seed);
  return pass;
}

TEST(VariationalDequantization, StaysWithinThePixelAndIsUndoneByFloor) {
  for (const Shape& shape : {Shape{50, 6}, Shape{50, 1, 2, 3}})
    for (double size : {0.2, 30.0}) {
      const auto flow = dequantization(6, size);
      const Tensor x = pixels(shape);
      Pass pass = with_noise();
      const Out out = flow->forward(x, pass);
      EXPECT_EQ(flow->inverse(out.z.value()).values(), x.values()) << size;
      EXPECT_EQ(out.z.shape(), shape);
      EXPECT_EQ(out.logdet.shape(), Shape{50});
    }
}

// q(u | x) is a density of u: the mean of 1 / q over those of its draws that lie in a square is the
// square's area. (Over all draws it would have no variance: the tails of q are thin.)
TEST(VariationalDequantization, LogdetIsThatOfADensityOfTheNoise) {
  const auto flow = dequantization(2);
  const Index n = 100000;
  for (Real first : {Real(0), Real(3)}) {
    Tensor x = Tensor::full({n, 2}, first);
    for (Index i = 0; i < n; ++i) x.mutable_data()[2 * i + 1] = 1;
    Pass pass = with_noise();
    const Out out = flow->forward(x, pass);
    double total = 0, squares = 0;
    for (Index i = 0; i < n; ++i) {
      const Real u = out.z.value()[2 * i] - first, v = out.z.value()[2 * i + 1] - 1;
      const bool inside = u > 0.2 && u < 0.8 && v > 0.2 && v < 0.8;
      const double weight = inside ? std::exp(double{out.logdet.value()[i]}) : 0;
      total += weight, squares += weight * weight;
    }
    const double area = total / n, error = std::sqrt((squares / n - area * area) / n);
    EXPECT_NEAR(area, 0.36, 4 * error);
    EXPECT_LT(error, 0.01);
  }
}

TEST(VariationalDequantization, NoiseDependsOnTheExample) {
  const auto flow = dequantization(2);
  const Tensor x({3, 2}, {0, 0, 3, 0, 0, 0});
  Pass pass;  // eps = 0
  const Out out = flow->forward(x, pass);
  EXPECT_NE(out.z.value()[0], out.z.value()[2] - 3);
  EXPECT_EQ(out.z.value()[0], out.z.value()[4]);
  EXPECT_NE(out.logdet.value()[0], out.logdet.value()[1]);
}

TEST(VariationalDequantization, ItsGradientsAgreeWithDifferences) {
  const auto flow = dequantization(4);
  check_gradients(*flow, pixels({5, 4}), with_noise());
}

TEST(VariationalDequantization, NoiseDoesNotDependOnTheBatch) {
  const auto flow = dequantization(3);
  const Tensor x = pixels({6, 3});
  Pass pass = with_noise();
  const Out all = flow->forward(x, pass);
  for (std::uint32_t b : {0u, 5u}) {
    Pass one = with_noise();
    one.examples = {b};
    const Out out = flow->forward(slice(x, 0, b, b + 1), one);
    expect_close(out.z.value(), slice(all.z.value(), 0, b, b + 1), in_double ? 1e-12 : 1e-5, "z");
    EXPECT_NEAR(out.logdet.item(), all.logdet.value()[b], in_double ? 1e-11 : 1e-4);
  }
  Pass wrong = with_noise();
  wrong.examples = {1, 2};
  EXPECT_NE(error_of([&] { flow->forward(x, wrong); }).find("the pass names 2 examples"),
            std::string::npos);
}

TEST(VariationalDequantization, ItsFirstBatchIsNoise) {
  FlowppOptions options{.layers = 1, .net = {.hidden = {9}}, .components = 3};
  const auto flow = flowpp_dequantization(2, levels, options, Random(1));
  EXPECT_TRUE(flow->awaits_first_batch());
  const Tensor x = pixels({500, 2});
  flow->begin_step(x, with_noise());
  EXPECT_FALSE(flow->awaits_first_batch());
  const Tensor eps = Random(4).normal({500, 2});
  for (const auto& [name, parameter] : flow->parameters())
    if (name == "flow.0.translation")
      expect_close(parameter->value(), mean(eps, {0}), in_double ? 1e-12 : 1e-5, name);
  flow->begin_step(Tensor(), with_noise());
}

TEST(VariationalDequantization, MakesABoundThatADensityMayStandOn) {
  const auto flow = dequantization(3);
  EXPECT_NE(flow->why_no_bijection(), nullptr);
  EXPECT_FALSE(flow->has_learned_inverse());
  EXPECT_TRUE(flow->exact_in_training());
  EXPECT_EQ(flow->context(), 0);
  const Density density(*flow, {3});
  EXPECT_TRUE(all_finite(density.log_prob(pixels({5, 3}), with_noise())));
  EXPECT_NE(
      error_of([&] { density.sample_and_log_prob(2, Random(1)); }).find("rounds to whole numbers"),
      std::string::npos);
}

TEST(VariationalDequantization, RefusesWhatItCannotDo) {
  const auto flow = dequantization(3);
  EXPECT_EQ(error_of([&] {
              flow->forward(pixels({2, 4}));
            }),
            "[variational_dequantization] examples of 3 numbers, the flow's context, expected; the "
            "shape is (2, 4)");
  EXPECT_NE(error_of([&] { flow->forward(Tensor(Real(1))); }), "no error");
  Pass pass;
  pass.context = Tensor::zeros({2, 1});
  EXPECT_NE(error_of([&] { flow->forward(pixels({2, 3}), pass); }), "no error");
  EXPECT_NE(error_of([] { VariationalDequantization(nullptr, 4); }), "no error");
  EXPECT_EQ(error_of([] { flowpp_dequantization(3, 0, {}, Random(1)); }),
            "[variational_dequantization] at least one level expected, got 0");
  EXPECT_EQ(error_of([] { flowpp_dequantization(3, 4, {.net = {.context = 2}}, Random(1)); }),
            "[flowpp_dequantization] the context is the example, got one of 2");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

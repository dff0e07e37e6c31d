// The flows around the linear layers: squeeze, actnorm, 1x1 convolutions, couplings, split priors,
// emerging convolutions, convolution exponentials.
#include "backflow/flows/density.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/image/coupling.h"
#include "backflow/flows/image/flatten.h"
#include "backflow/flows/image/squeeze.h"
#include "backflow/flows/linear/conv1x1.h"
#include "backflow/flows/linear/conv_exponential.h"
#include "backflow/flows/linear/emerging.h"
#include "backflow/flows/linear/random_orthogonal.h"
#include "backflow/ops/conv.h"
#include "backflow/ops/finite.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/flows/check_flow.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Tensor normal(const Shape& shape, std::uint64_t seed) { return Random(seed).normal(shape); }

// Away from initial values that hide gradients, like the zeros of a coupling.
void shake(const Flow& flow, double amount = 0.1) {
  std::uint64_t seed = 100;
  for (const auto& [name, parameter] : flow.parameters()) {
    const Tensor noise = normal(parameter->shape(), seed++) * amount;
    parameter->set(parameter->value() + noise);
  }
}

void check(const std::string& name, const Flow& flow, const Shape& shape) {
  check_flow(name, flow, normal(shape, 1), normal(shape, 2) * 1e4);
}

TEST(Squeeze, IsAFlowAndSoIsUnsqueeze) {
  check("squeeze", Squeeze(), {2, 3, 4, 6});
  check("unsqueeze", Unsqueeze(), {2, 8, 1, 3});
}

TEST(Squeeze, PutsEachBlockIntoFourChannels) {
  const Tensor x({1, 1, 2, 4}, {0, 1, 2, 3, 4, 5, 6, 7});
  const Tensor z = Squeeze().forward(x).z.value();
  EXPECT_EQ(z.shape(), (Shape{1, 4, 1, 2}));
  EXPECT_EQ(z.values(), (std::vector<Real>{0, 2, 1, 3, 4, 6, 5, 7}));
}

TEST(Squeeze, WrongShapesAreNamed) {
  EXPECT_EQ(error_of([] {
              Squeeze().forward(Tensor::zeros({2, 1, 7, 4}));
            }),
            "[space_to_depth] images of even height and width expected, the shape is (2, 1, 7, 4)");
  EXPECT_EQ(error_of([] {
              Unsqueeze().forward(Tensor::zeros({2, 6, 7, 4}));
            }),
            "[depth_to_space] channels in fours expected, the shape is (2, 6, 7, 4)");
}

TEST(Flatten, IsAFlow) {
  check("flatten", Flatten({3, 4, 6}), {2, 3, 4, 6});
  check("flatten of vectors", Flatten({5}), {2, 5});
}

TEST(Flatten, KeepsTheOrderOfTheNumbers) {
  const Tensor x = normal({2, 3, 1, 2}, 1);
  const Tensor z = Flatten({3, 1, 2}).forward(x).z.value();
  EXPECT_EQ(z.shape(), (Shape{2, 6}));
  EXPECT_EQ(z.values(), x.values());
}

TEST(Flatten, OtherShapesAreNamed) {
  EXPECT_EQ(error_of([] {
              Flatten({1, 2, 3}).forward(Tensor::zeros({4, 1, 3, 2}));
            }),
            "[flatten] examples of shape (1, 2, 3) expected, the batch is (4, 1, 3, 2)");
  EXPECT_EQ(error_of([] {
              Flatten({1, 2, 3}).inverse(Tensor::zeros({4, 5}));
            }),
            "[flatten] a batch (B, 6) expected, the shape is (4, 5)");
}

// ---- Actnorm ------------------------------------------------------------------------------------

TEST(ActNorm, IsAFlow) {
  for (const Shape& shape : {Shape{3, 2, 2, 3}, Shape{4, 5}}) {
    const ActNorm flow(shape[1]);
    shake(flow);
    check("actnorm", flow, shape);
  }
}

TEST(ActNorm, FirstBatchInTrainingLeavesWithMeanZeroAndVarianceOne) {
  const ActNorm flow(3);
  const Tensor x = normal({5, 3, 2, 4}, 1) * 7 + 3;
  Pass pass;
  EXPECT_EQ(flow.forward(x, pass).z.value().values(), x.values());  // evaluation sets nothing
  pass.mode = Mode::train;
  const Tensor z = flow.forward(x, pass).z.value();
  const double tolerance = in_double ? 1e-7 : 1e-4;
  expect_close(mean(z, {0, 2, 3}), Tensor::zeros({3}), tolerance, "mean");
  expect_close(sum(z * z, {0, 2, 3}) * (Real(1) / 39), Tensor::full({3}, 1), tolerance, "variance");
  const auto before = flow.parameters()[0].parameter->value().values();
  flow.forward(x * 2, pass);
  EXPECT_EQ(flow.parameters()[0].parameter->value().values(), before);
}

TEST(ActNorm, ErrorsNameTheShapes) {
  const ActNorm flow(3);
  EXPECT_EQ(error_of([&] {
              flow.forward(Tensor::zeros({2, 4, 1, 1}));
            }),
            "[actnorm] a batch with 3 channels expected, the shape is (2, 4, 1, 1)");
  Pass pass;
  pass.mode = Mode::train;
  EXPECT_EQ(error_of([&] {
              flow.forward(Tensor::zeros({1, 3}), pass);
            }),
            "[actnorm] the first batch needs two values per channel, its shape is (1, 3)");
}

// ---- 1x1 convolutions ---------------------------------------------------------------------------

TEST(Conv1x1, IsAFlow) {
  check("conv1x1", Conv1x1(random_orthogonal(3, Random(1)) + normal({3, 3}, 2) * 0.1),
        {2, 3, 3, 2});
}

TEST(HouseholderConv1x1, IsAFlow) {
  check("householder", HouseholderConv1x1(normal({3, 4}, 1)), {2, 4, 2, 3});
  check("householder", HouseholderConv1x1(normal({7, 2}, 1)), {2, 2, 2, 1});
}

TEST(HouseholderConv1x1, KeepsDistances) {
  const Tensor x = normal({2, 5, 3, 3}, 1);
  const Tensor z = HouseholderConv1x1(normal({64, 5}, 2)).forward(x).z.value();
  EXPECT_NEAR(sum(z * z).item(), sum(x * x).item(), in_double ? 1e-11 : 1e-3);
}

TEST(Conv1x1, WrongWeightsAreNamed) {
  EXPECT_EQ(error_of([] {
              Conv1x1(Tensor::zeros({2, 3}));
            }),
            "[conv1x1] W must be a square matrix, its shape is (2, 3)");
  EXPECT_EQ(error_of([] { HouseholderConv1x1(Tensor::zeros({3})); }),
            "[householder] V must be (reflections, C), its shape is (3)");
}

// ---- Couplings ----------------------------------------------------------------------------------

TEST(ImageCoupling, IsAFlow) {
  for (const Shape& shape : {Shape{2, 4, 3, 2}, Shape{3, 2, 1, 1}}) {
    const ImageCoupling flow(shape[1], 5, Random(1));
    shake(flow);
    check("coupling", flow, shape);
  }
}

TEST(ImageCoupling, BeginsAsTheIdentity) {
  const Tensor x = normal({2, 4, 3, 3}, 1);
  const Out out = ImageCoupling(4, 8, Random(1)).forward(x);
  EXPECT_EQ(out.z.value().values(), x.values());
  EXPECT_EQ(out.logdet.value().values(), std::vector<Real>(2, 0));
}

TEST(ImageCoupling, InitialWeightsAreUniformWithinOneOverTheRootOfTheFanIn) {
  const ImageCoupling flow(4, 64, Random(1));
  for (const auto& [name, parameter] : flow.parameters()) {
    if (name.find("net.4") == 0) continue;
    const double bound = name.find("net.0") == 0 ? 1 / std::sqrt(18.0) : 1 / 8.0;
    const auto values = parameter->value().values();
    const auto [low, high] = std::minmax_element(values.begin(), values.end());
    EXPECT_GE(*low, -bound) << name;
    EXPECT_LE(*high, bound) << name;
    EXPECT_GT(*high - *low, 1.8 * bound) << name;
  }
}

// A saturated coupling: log s at either end of its range.
TEST(ImageCoupling, IsFiniteWhenSaturated) {
  const ImageCoupling flow(2, 3, Random(1));
  flow.parameters()[5].parameter->set(Tensor({2}, {1e6, -1e6}));
  check_finite(flow, normal({2, 2, 3, 3}, 2), {});
  const Out out = flow.forward(normal({2, 2, 3, 3}, 2));
  for (Real logdet : out.logdet.value().values()) EXPECT_EQ(logdet, 18);
}

TEST(ImageCoupling, NamesItsParametersAsTheAuthorsDo) {
  EXPECT_EQ(names_of(ImageCoupling(4, 8, Random(1))),
            (std::vector<std::string>{"net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias",
                                      "net.4.weight", "net.4.bias", "net.4.logs"}));
}

TEST(ImageCoupling, OddChannelsAreRefused) {
  EXPECT_EQ(error_of([] { ImageCoupling(3, 8, Random(1)); }),
            "[coupling] an even number of channels expected, to be halved, got 3");
  EXPECT_EQ(error_of([] { SplitPrior(1, 8, Random(1)); }),
            "[coupling] an even number of channels expected, to be halved, got 1");
  EXPECT_EQ(error_of([] {
              ImageCoupling(4, 8, Random(1)).forward(Tensor::zeros({2, 2, 3, 3}));
            }),
            "[coupling] images with 4 channels expected, the shape is (2, 2, 3, 3)");
}

// ---- Split priors -------------------------------------------------------------------------------

TEST(SplitPrior, IsACouplingAndAStandardNormalOnTheSecondHalf) {
  const SplitPrior flow(4, 8, Random(1));
  shake(flow);
  const ImageCoupling coupling(4, 8, Random(1));
  for (std::size_t i = 0; i < coupling.parameters().size(); ++i)
    coupling.parameters()[i].parameter->set(flow.parameters()[i].parameter->value());
  const Tensor x = normal({2, 4, 3, 3}, 5);
  Pass pass;
  const Out out = flow.forward(x, pass), whole = coupling.forward(x);
  const Var left = slice(whole.z, 1, 2, 4);
  EXPECT_EQ(out.z.value().values(), slice(whole.z, 1, 0, 2).value().values());
  ASSERT_EQ(pass.factored_out.size(), 1u);
  EXPECT_EQ(pass.factored_out[0].values(), left.value().values());
  expect_close(out.logdet.value(), (whole.logdet + StandardNormal().log_prob(left)).value(), 1e-6,
               "logdet");
  check_gradients(flow, x, {});
}

TEST(SplitPrior, GoesBackWithWhatWasFactoredOut) {
  const SplitPrior flow(4, 8, Random(1));
  shake(flow);
  const Tensor x = normal({2, 4, 3, 3}, 1);
  Pass pass;
  const Tensor z = flow.forward(x, pass).z.value();
  expect_close(flow.inverse(z, pass), x, in_double ? 1e-9 : 1e-4, "inverse(forward(x))");
  EXPECT_TRUE(pass.factored_out.empty());
}

TEST(SplitPrior, DrawsTheRestWhenItSamples) {
  const SplitPrior flow(4, 8, Random(1));  // begins as the identity
  const Tensor z = normal({500, 2, 3, 3}, 1);
  Pass pass;
  EXPECT_EQ(error_of([&] { flow.inverse(z, pass); }),
            "[split_prior] the pass has nothing factored out to pop, and no latents to draw from");
  pass.latents = Latents{Random(1), 0.5};
  const Tensor once = slice(flow.inverse(z, pass), 1, 2, 4);
  const Tensor twice = slice(flow.inverse(z, pass), 1, 2, 4);
  EXPECT_NE(once.values(), twice.values());
  EXPECT_NEAR(mean(once * once).item(), 0.25, 0.02);
  pass.latents = Latents{Random(1), 0.5};
  EXPECT_EQ(slice(flow.inverse(z, pass), 1, 2, 4).values(), once.values());
}

// ---- Emerging -----------------------------------------------------------------------------------

TEST(AutoregressiveConv, IsAFlow) {
  for (const Shape& shape : {Shape{2, 3, 4, 3}, Shape{2, 1, 5, 4}, Shape{1, 2, 1, 1}}) {
    const Index C = shape[1];
    Tensor weight = normal({C, C, 2, 2}, 1) * 0.2;
    for (Index c = 0; c < C; ++c) weight.mutable_data()[(c * C + c) * 4 + 3] += c % 2 ? -1 : 1;
    check("autoregressive", AutoregressiveConv(weight, normal({C}, 2)), shape);
  }
}

TEST(AutoregressiveConv, WithAZeroOnTheDiagonalHasNoInverse) {
  const AutoregressiveConv flow(Tensor::zeros({2, 2, 2, 2}), Tensor::zeros({2}));
  EXPECT_EQ(error_of([&] {
              flow.inverse(Tensor::zeros({1, 2, 3, 3}));
            }),
            "[emerging] cannot be inverted: the diagonal entry of channel 0 is 0");
  EXPECT_EQ(error_of([] {
              AutoregressiveConv(Tensor::zeros({2, 2, 3, 3}), Tensor::zeros({2}));
            }),
            "[emerging] weights (C, C, 2, 2) expected, their shape is (2, 2, 3, 3)");
}

TEST(Emerging, IsAFlow) {
  const Emerging flow(3, Random(1));
  shake(flow, 0.05);
  check("emerging", flow, {2, 3, 4, 3});
  EXPECT_EQ(names_of(flow),
            (std::vector<std::string>{"transformations.0.W", "transformations.1.weight",
                                      "transformations.1.bias", "transformations.3.weight",
                                      "transformations.3.bias"}));
}

TEST(HouseholderConv1x1, RowOfZerosFails) {
  const HouseholderConv1x1 flow(Tensor({2, 3}, {1, 2, 3, 0, 0, 0}));
  const std::string message =
      "[householder] row 1 of V is 0 to rounding, and reflects in no direction";
  EXPECT_EQ(error_of([&] { flow.forward(Tensor::zeros({1, 3, 2, 2})); }), message);
  EXPECT_EQ(error_of([&] { flow.inverse(Tensor::zeros({1, 3, 2, 2})); }), message);
}

// ---- The convolution exponential ----------------------------------------------------------------

TEST(ConvExponential, IsAFlow) {
  for (const Shape& shape : {Shape{2, 2, 3, 4}, Shape{2, 1, 4, 4}}) {
    const ConvExponential flow(shape[1], shape[2], shape[3], Random(1));
    shake(flow, 0.05);
    check("convolution exponential", flow, shape);
  }
}

TEST(ConvExponential, KeepsItsVectorsFlatAsTheAuthorsDo) {
  const ConvExponential flow(2, 3, 4, Random(1));
  for (const auto& [name, buffer] : flow.buffers())
    EXPECT_EQ(buffer->shape(), name == "kernel_sigma" ? Shape{} : Shape{24}) << name;
}

TEST(ConvExponential, TakesReflectionsAbove64Channels) {
  const ConvExponential flow(65, 2, 2, Random(1));
  EXPECT_EQ(names_of(flow)[3], "conv1x1.V");
  check_round_trip(flow, normal({2, 65, 2, 2}, 1), {});
}

TEST(ConvExponential, TrainingHoldsTheSpectralNormBelowItsBound) {
  const ConvExponential flow(2, 4, 4, Random(1));
  Parameter& kernel = *flow.parameters()[0].parameter;
  kernel.set(normal({2, 2, 3, 3}, 3));  // far too large
  Pass pass;
  pass.mode = Mode::train;
  const Tensor x = normal({2, 2, 4, 4}, 1);
  for (int step = 0; step < 1000; ++step) flow.forward(x, pass);
  const Real sigma = flow.buffers()[2].tensor->item();
  const Tensor k = kernel.value() * (Real(0.9) / sigma);
  Tensor v = normal({1, 2, 4, 4}, 2);
  for (int i = 0; i < 200; ++i) {
    v = conv2d_input_gradient(conv2d(v, k, Conv2d::same(k.shape())), k, v.shape(),
                              Conv2d::same(k.shape()));
    v = v * (1 / std::sqrt(sum(v * v).item()));
  }
  const Tensor image = conv2d(v, k, Conv2d::same(k.shape()));
  EXPECT_NEAR(std::sqrt(sum(image * image).item()), 0.9, 1e-3);
  check_round_trip(flow, x, {});
}

Pass training() {
  Pass pass;
  pass.mode = Mode::train;
  return pass;
}

TEST(ConvExponential, RecoversFromAKernelThatWasZero) {
  const ConvExponential flow(2, 4, 4, Random(1));
  Parameter& kernel = *flow.parameters()[0].parameter;
  const Tensor x = normal({2, 2, 4, 4}, 1);
  Pass pass = training();
  kernel.set(Tensor::zeros({2, 2, 3, 3}));
  flow.forward(x, pass);
  for (const auto& [name, buffer] : flow.buffers()) EXPECT_TRUE(all_finite(*buffer)) << name;
  kernel.set(normal({2, 2, 3, 3}, 3));
  for (int step = 0; step < 300; ++step) flow.forward(x, pass);
  EXPECT_GT(flow.buffers()[2].tensor->item(), 1) << "sigma";
  *flow.buffers()[0].tensor = Tensor::zeros({32});  // as checkpoints of such a run hold it
  flow.forward(x, pass);
  EXPECT_GT(flow.buffers()[2].tensor->item(), 0) << "sigma after an absorbed u was loaded";
}

TEST(ConvExponential, WritesNothingInExactMode) {
  const ConvExponential flow(2, 4, 4, Random(1));
  shake(flow, 0.05);
  const auto values = [&] {
    std::vector<std::vector<Real>> all;
    for (const auto& [name, buffer] : flow.buffers()) all.push_back(buffer->values());
    return all;
  };
  const auto before = values();
  const Tensor x = normal({2, 2, 4, 4}, 1);
  flow.inverse(flow.forward(x).z.value());
  EXPECT_EQ(values(), before);
}

TEST(ConvExponential, ImagesOfAnotherShapeFail) {
  const ConvExponential flow(1, 4, 4, Random(1));
  const std::string expected = "[conv_exponential] images of 1 x 4 x 4 expected, the shape is ";
  for (const auto& [shape, text] : std::vector<std::pair<Shape, std::string>>{
           {{2, 1, 1, 1}, "(2, 1, 1, 1)"}, {{2, 2, 4, 4}, "(2, 2, 4, 4)"}, {{2, 16}, "(2, 16)"}}) {
    EXPECT_EQ(error_of([&, &shape = shape] { flow.forward(Tensor::zeros(shape)); }),
              expected + text);
    EXPECT_EQ(error_of([&, &shape = shape] { flow.inverse(Tensor::zeros(shape)); }),
              expected + text);
  }
}

TEST(ConvExponential, OfManyTermsIsTheExponentialOfItsMatrix) {
  const Tensor k = normal({1, 1, 3, 3}, 1) * 0.3, x = normal({1, 1, 1, 2}, 2);
  // On a row of two pixels the matrix is [[c, r], [l, c]].
  const double c = k[4], l = k[3], r = k[5], root = std::sqrt(std::abs(l * r));
  const double even = l * r > 0 ? std::cosh(root) : std::cos(root);
  const double odd = l * r > 0 ? std::sinh(root) / root : std::sin(root) / root;
  const Tensor y = conv_exp(x, k, 30).value();
  EXPECT_NEAR(y[0], std::exp(c) * (even * x[0] + odd * r * x[1]), 1e-6);
  EXPECT_NEAR(y[1], std::exp(c) * (even * x[1] + odd * l * x[0]), 1e-6);
}

TEST(ConvExp, GradientsAgreeWithDifferences) {
  const auto report =
      gradcheck([](const std::vector<Var>& in) { return std::vector{conv_exp(in[0], in[1], 6)}; },
                {normal({2, 2, 3, 4}, 1), normal({2, 2, 3, 3}, 2) * 0.2});
  EXPECT_TRUE(report) << report.failure;
}

TEST(ConvExp, ErrorsNameTheShapesAndTheTerms) {
  const auto error = [](const Shape& x, const Shape& kernel, int terms) {
    return error_of([&] { conv_exp(Tensor::zeros(x), Tensor::zeros(kernel), terms); });
  };
  // What they make of x could be added to it: its channels, or its only pixel, would be repeated.
  const std::string expected =
      "[conv_exp] a kernel (C, C, K, L) of odd sizes expected, the shape is ";
  EXPECT_EQ(error({2, 1, 4, 4}, {3, 1, 3, 3}, 1), expected + "(3, 1, 3, 3)");
  EXPECT_EQ(error({2, 1, 1, 1}, {1, 1, 2, 2}, 1), expected + "(1, 1, 2, 2)");
  EXPECT_EQ(error({2, 1, 1, 4}, {1, 1, 3, 4}, 1), expected + "(1, 1, 3, 4)");
  EXPECT_EQ(error({2, 3, 4, 4}, {3, 3}, 1), expected + "(3, 3)");
  EXPECT_EQ(error({2, 3, 4, 4}, {2, 2, 3, 3}, 6),
            "[conv2d] channels differ: images (2, 3, 4, 4), kernels (2, 2, 3, 3)");
  EXPECT_EQ(error({2, 2, 4, 4}, {2, 2, 3, 3}, -1), "[conv_exp] 0 terms or more expected, not -1");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

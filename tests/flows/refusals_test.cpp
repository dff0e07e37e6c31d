// Batches that a layer cannot take fail with one line, whichever layer, in both directions.
#include "backflow/flows/elementwise/activations.h"
#include "backflow/flows/elementwise/spline.h"
#include "backflow/flows/image/actnorm.h"
#include "backflow/flows/image/coupling.h"
#include "backflow/flows/image/squeeze.h"
#include "backflow/flows/linear/conv1x1.h"
#include "backflow/flows/linear/conv_exponential.h"
#include "backflow/flows/linear/emerging.h"
#include "backflow/flows/linear/self_normalizing.h"
#include "backflow/ops/linalg.h"
#include "backflow/ops/pointwise.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Index channels = 4;

Tensor normal(const Shape& shape, std::uint64_t seed = 1) { return Random(seed).normal(shape); }

// For images of 4 channels; those that fit some layers alone are of 4 x 4 pixels.
std::vector<std::pair<std::string, std::unique_ptr<Flow>>> image_layers() {
  std::vector<std::pair<std::string, std::unique_ptr<Flow>>> all;
  const Tensor kernel = normal({channels, channels, 3, 3}) * 0.1, b = Tensor::zeros({channels});
  const Tensor taps = normal({channels, channels, 2, 2}), matrix = normal({channels, channels});
  const Tensor knots = Tensor::zeros({1, channels, 4, 4, 5});
  const Tensor inner = Tensor::zeros({1, channels, 4, 4, 4});
  all.emplace_back("actnorm", std::make_unique<ActNorm>(channels));
  all.emplace_back("conv1x1", std::make_unique<Conv1x1>(matrix));
  all.emplace_back("householder", std::make_unique<HouseholderConv1x1>(matrix));
  all.emplace_back("conv_exp", std::make_unique<ConvExponential>(channels, 4, 4, Random(1)));
  all.emplace_back("coupling", std::make_unique<ImageCoupling>(channels, 3, Random(1)));
  all.emplace_back("autoregressive", std::make_unique<AutoregressiveConv>(taps, b));
  all.emplace_back("emerging", std::make_unique<Emerging>(channels, Random(1)));
  all.emplace_back("exact", std::make_unique<Exact>(kernel, b));
  all.emplace_back("self_normalizing", std::make_unique<SelfNormalizing>(kernel, kernel, b));
  all.emplace_back("spline", std::make_unique<SplineActivation>(knots, knots, inner));
  return all;
}

// One line that names the place and the shape that was found.
void expect_refused(const std::string& name, const Flow& flow, const Shape& shape) {
  std::ostringstream where, found;
  found << shape;
  where << name << " of " << shape;
  const Tensor x = Tensor::zeros(shape);
  for (Mode mode : {Mode::exact, Mode::train}) {
    Pass pass;
    pass.mode = mode;
    const std::string forward = error_of([&] { flow.forward(x, pass); });
    const std::string inverse = error_of([&] { flow.inverse(x, pass); });
    for (const std::string& message : {forward, inverse}) {
      EXPECT_EQ(message.find('['), 0u) << where.str() << ": " << message;
      EXPECT_NE(message.find(found.str()), std::string::npos) << where.str() << ": " << message;
      EXPECT_EQ(message.find('\n'), std::string::npos) << where.str() << ": " << message;
    }
  }
}

TEST(Refusals, ImagesOfOtherRanksOrChannelsFailInEveryImageLayer) {
  for (const auto& [name, flow] : image_layers())
    for (const Shape& shape : {Shape{}, Shape{64}, Shape{2, channels, 16}, Shape{2, 3, 4, 4},
                               Shape{2, 5, 4, 4}, Shape{2, 1, 1, 1}, Shape{2, channels, 4, 4, 1}})
      expect_refused(name, *flow, shape);
}

TEST(Refusals, ImagesOfAnotherSizeFailWhereParametersBelongToPixels) {
  for (const auto& [name, flow] : image_layers()) {
    if (name != "conv_exp" && name != "spline") continue;
    for (const Shape& shape : {Shape{2, channels, 1, 1}, Shape{2, channels, 1, 4},
                               Shape{2, channels, 4, 1}, Shape{2, channels, 8, 2}})
      expect_refused(name, *flow, shape);
  }
}

TEST(Refusals, SplitPriorTakesImagesOfItsChannels) {
  const SplitPrior flow(channels, 3, Random(1));
  for (const Shape& shape : {Shape{}, Shape{64}, Shape{2, channels, 16}, Shape{2, 6, 4, 4}}) {
    Pass pass;
    pass.latents = Latents{Random(1)};
    EXPECT_EQ(error_of([&] { flow.forward(Tensor::zeros(shape), pass); }).find('['), 0u) << shape;
    EXPECT_EQ(error_of([&] { flow.inverse(Tensor::zeros(shape), pass); }).find('['), 0u) << shape;
  }
}

TEST(Refusals, FullyConnectedLayersTakeExamplesOfTheirSize) {
  const Exact flow(Tensor::identity(4), Tensor::zeros({4}));
  for (const Shape& shape : {Shape{}, Shape{4}, Shape{2, 3}, Shape{2, 2, 3}})
    expect_refused("exact", flow, shape);
}

TEST(Refusals, ABatchWithoutAnAxisOfExamplesFailsInLayersOfOneElement) {
  std::vector<std::unique_ptr<Flow>> layers;
  layers.push_back(std::make_unique<Identity>());
  layers.push_back(std::make_unique<LeakyReLU>());
  layers.push_back(std::make_unique<LearnableLeakyReLU>());
  layers.push_back(std::make_unique<SmoothLeakyReLU>());
  layers.push_back(std::make_unique<SmoothTanh>());
  layers.push_back(std::make_unique<Squeeze>());
  layers.push_back(std::make_unique<Unsqueeze>());
  layers.push_back(std::make_unique<Flip>());
  for (std::size_t i = 0; i < layers.size(); ++i)
    EXPECT_EQ(error_of([&] { layers[i]->forward(Tensor(Real(1))); }).find('['), 0u) << i;
}

TEST(HouseholderConv1x1, RowsWhoseSquaresAreNoNumbersFail) {
  using Limits = std::numeric_limits<Real>;
  const auto error_with = [](Real entry) {
    const HouseholderConv1x1 flow(Tensor({2, 2}, {1, 2, 0, entry}));
    return error_of([&] { flow.forward(Tensor::zeros({1, 2, 3, 3})); });
  };
  EXPECT_EQ(error_with(std::sqrt(Limits::min()) / 1024),
            "[householder] row 1 of V is 0 to rounding, and reflects in no direction");
  EXPECT_EQ(error_with(Limits::max()),
            "[householder] row 1 of V is so long that its square overflows");
  EXPECT_EQ(error_with(std::sqrt(Limits::min()) * 4), "no error");
}

TEST(AutoregressiveConv, BiasOfAnotherShapeFails) {
  EXPECT_EQ(error_of([] {
              AutoregressiveConv(Tensor::zeros({2, 2, 2, 2}), Tensor::zeros({1}));
            }),
            "[emerging] the weights are (2, 2, 2, 2), so the bias must be (2), its shape is (1)");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

// The models that configurations describe.
#include "backflow/apps/model/model.h"

#include <cmath>
#include <numbers>

#include "backflow/apps/model/ignored_names.h"
#include "backflow/ops/conv.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"
#include "backflow/tests/apps/model/small_model.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double tolerance = sizeof(Real) == sizeof(double) ? 1e-12 : 1e-5;
constexpr Index D = small_size;

Config with(Config config, const std::string& key, const std::string& value) {
  set_field(config, key, value);
  validate(config);
  return config;
}

// What a training pass gives through a model whose R is no inverse of W.
std::vector<AuxiliaryLoss> losses_of(const Model& model) {
  parameter_of(model, "4.weight_fwd").set(Random(2).normal({D, D}));
  parameter_of(model, "4.weight_inv").set(Random(1).normal({D, D}));
  Pass pass;
  pass.mode = Mode::train;
  model.density().objective(image_batch(3), pass);
  return pass.losses;
}

TEST(Model, ParametersAreNamedAsInTheAuthorsStateDict) {
  const auto names = [](const Config& config) {
    std::string all;
    const Model model(config, small_image);
    for (const auto& [name, parameter] : model.flow().parameters()) all += name + " ";
    return all;
  };
  EXPECT_EQ(names(small_config("exact")), "4.weight_fwd 4.bias_fwd 6.weight_fwd 6.bias_fwd ");
  EXPECT_EQ(names(small_config()),
            "4.weight_fwd 4.bias_fwd 4.weight_inv 6.weight_fwd 6.bias_fwd 6.weight_inv ");
  EXPECT_EQ(names(with(small_config("exact"), "activation", "learnable_leaky_relu")),
            "4.weight_fwd 4.bias_fwd 5.alpha_logit 6.weight_fwd 6.bias_fwd ");
}

// As PyTorch lists them: parameters, buffers, and what of the authors' buffers means nothing here.
std::string state_dict_of(const std::string& experiment) {
  Config config = find_experiment(experiment).config;
  config.num_blocks = 2, config.block_size = 1, config.width = 4;
  const Model model(config, small_image);
  std::string all;
  for (const auto& [name, parameter] : model.flow().parameters())
    if (name[0] == '4' || name[0] == '5') all += name + " ";
  all += "| ";
  for (const auto& [name, buffer] : model.flow().buffers())
    if (name[0] == '4' || name[0] == '5') all += name + " ";
  for (const std::string& name : ignored_names(model.flow()))
    if (name[0] == '4' || name[0] == '5') all += name + " ";
  return all;
}

TEST(Model, OfEveryKindHasTheNamesOfTheAuthorsStateDict) {
  const std::string spline =
      "5.unnormalized_widths 5.unnormalized_heights 5.unnormalized_derivatives ";
  EXPECT_EQ(state_dict_of("selfnorm_cnn_mnist"),
            "4.weight_fwd 4.bias_fwd 4.weight_inv " + spline + "| ");
  EXPECT_EQ(state_dict_of("exact_cnn_mnist"),
            "4.weight_fwd 4.bias_fwd " + spline + "| 4.weight_inv ");
  EXPECT_EQ(state_dict_of("emerging_cnn_mnist"),
            "4.transformations.0.W 4.transformations.1.weight 4.transformations.1.bias "
            "4.transformations.3.weight 4.transformations.3.bias " +
                spline + "| 4.transformations.1.mask 4.transformations.3.mask ");
  EXPECT_EQ(state_dict_of("exponential_cnn_mnist"),
            "4.kernel_orig 4.pre_transform_bias 4.post_transform_bias 4.conv1x1.W " + spline +
                "| 4.kernel_u 4.kernel_v 4.kernel_sigma ");
  EXPECT_EQ(state_dict_of("conv1x1_glow_mnist"),
            "5.translation 5.log_scale | 5.initialized ");  // 4 is the squeeze
}

TEST(Model, GlowIsMadeOfActnormConvolutionAndCoupling) {
  Config config = find_experiment("geco_selfnorm_glow_mnist").config;
  config.num_blocks = 2, config.block_size = 1, config.width = 4;
  const Model model(config, small_image);
  std::vector<std::string> names;
  for (const auto& [name, parameter] : model.flow().parameters()) names.push_back(name);
  const auto has = [&](const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (const char* name :
       {"5.translation", "6.weight_fwd", "7.net.4.logs", "8.transform.net.0.weight", "10.log_scale",
        "11.bias_fwd", "12.net.2.bias"})
    EXPECT_TRUE(has(name)) << name;
  EXPECT_EQ(parameter_of(model, "6.weight_fwd").shape(), (Shape{4, 4, 5, 5}));
}

TEST(Model, CountsItsParameters) {
  EXPECT_EQ(Model(small_config("exact"), small_image).parameter_count(), 2 * (D * D + D));
  EXPECT_EQ(Model(small_config(), small_image).parameter_count(), 2 * (2 * D * D + D));
  EXPECT_EQ(Model(with(small_config(), "num_layers", "5"), small_image).parameter_count(),
            5 * (2 * D * D + D));
}

TEST(Model, ItsParametersAreCountedWithoutMakingIt) {
  Config config = find_experiment("selfnorm_glow_mnist").config;
  config.width = 6, config.block_size = 5;
  const ImageShape image{3, 8, 8};
  EXPECT_EQ(parameter_count(config, image), Model(config, image).parameter_count());
  EXPECT_EQ(parameter_count(small_config(), small_image),
            Model(small_config(), small_image).parameter_count());
}

TEST(Model, KnowsWhatItsLayersAre) {
  for (const std::string& layer : small_layers) {
    const Model model(small_config(layer), small_image);
    EXPECT_EQ(model.has_learned_inverse(), layer == "self_normalizing");
    EXPECT_EQ(model.objective_is_likelihood(), layer == "exact");
  }
}

TEST(Model, BeginsAtTheIdentityWithASmallRandomBias) {
  const Model model(small_config(), small_image);
  const std::vector<Real> identity = Tensor::identity(D).values();
  double sum_of_squares = 0;
  for (const std::string layer : {"4.", "6."}) {
    EXPECT_EQ(parameter_of(model, layer + "weight_fwd").value().values(), identity);
    EXPECT_EQ(parameter_of(model, layer + "weight_inv").value().values(), identity);
    for (Real b : parameter_of(model, layer + "bias_fwd").value().values()) sum_of_squares += b * b;
  }
  const double variance = (1 - 1.0 / D) / D;  // of the entries of the identity
  EXPECT_GT(sum_of_squares / (2 * D), variance / 2);
  EXPECT_LT(sum_of_squares / (2 * D), variance * 2);
}

TEST(Model, BeginsAtARandomRotationWithoutBiasWhenAskedTo) {
  const Model model(with(small_config(), "init", "orthogonal"), small_image);
  const Tensor first = parameter_of(model, "4.weight_fwd").value();
  EXPECT_NE(first.values(), parameter_of(model, "6.weight_fwd").value().values());
  for (const std::string layer : {"4.", "6."}) {
    const Tensor W = parameter_of(model, layer + "weight_fwd").value();
    const Tensor R = parameter_of(model, layer + "weight_inv").value();
    const Tensor product = matmul(R, W), identity = Tensor::identity(D);
    for (Index i = 0; i < D * D; ++i) EXPECT_NEAR(product[i], identity[i], tolerance);
    EXPECT_EQ(R.values(), transpose(W).values());
    EXPECT_EQ(parameter_of(model, layer + "bias_fwd").value().values(), std::vector<Real>(D, 0));
  }
}

TEST(Model, IsAFunctionOfItsSeed) {
  for (const std::string init : {"identity", "orthogonal"}) {
    const Config config = with(small_config(), "init", init);
    EXPECT_EQ(values_of(Model(config, small_image)), values_of(Model(config, small_image)));
    EXPECT_NE(values_of(Model(config, small_image)),
              values_of(Model(with(config, "seed", "1"), small_image)));
  }
}

TEST(Model, EveryActivationAndItsSlopeMatter) {
  std::vector<std::vector<Real>> results;
  const auto add_result = [&](const Config& config) {
    Model model(config, small_image);
    results.push_back(model.density().log_prob(image_batch(3)).values());
    for (Real value : results.back()) EXPECT_TRUE(std::isfinite(value)) << config.activation;
  };
  for (const std::string name :
       {"identity", "leaky_relu", "learnable_leaky_relu", "smooth_leaky_relu", "smooth_tanh"})
    add_result(with(small_config("exact"), "activation", name));
  for (const std::string name : {"leaky_relu", "smooth_leaky_relu", "smooth_tanh"})
    add_result(with(with(small_config("exact"), "activation", name), "alpha", "0.6"));
  // A learnable slope begins at 1: the identity.
  EXPECT_EQ(results[2], results[0]);
  results.erase(results.begin() + 2);
  for (std::size_t i = 0; i < results.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(results[i], results[j]) << i << " and " << j;
}

TEST(Model, ReconstructionOptionsReachTheLayers) {
  const Model plain(small_config(), small_image);
  const Model heavy(with(small_config(), "recon_weight", "2.5"), small_image);
  const Model symmetric(with(small_config(), "recon_symmetric", "true"), small_image);
  const Model only_R(with(small_config(), "recon_only_R", "true"), small_image);
  const auto gradient_of_W = [](const Model& model) {
    const Var loss = losses_of(model)[0].value;
    return backward(loss)[parameter_of(model, "4.weight_fwd")].values();
  };
  ASSERT_EQ(losses_of(plain).size(), 2u);
  EXPECT_EQ(losses_of(plain)[0].weight, 1);
  EXPECT_EQ(losses_of(heavy)[0].weight, 2.5);
  EXPECT_EQ(losses_of(heavy)[0].value.item(), losses_of(plain)[0].value.item());
  EXPECT_NE(losses_of(symmetric)[0].value.item(), losses_of(plain)[0].value.item());
  EXPECT_NE(gradient_of_W(plain), std::vector<Real>(D * D, 0));
  EXPECT_EQ(gradient_of_W(only_R), std::vector<Real>(D * D, 0));
}

// With W = I and b = 0 nothing but the preprocessing is left, and that is a formula.
TEST(Model, DequantizesSqueezesAndTakesTheLogit) {
  for (const double a : {1e-6, 0.05}) {
    Config config = with(small_config("exact"), "num_layers", "1");
    config.logit_alpha = a;
    const Model model(config, small_image);
    parameter_of(model, "4.bias_fwd").set(Tensor::zeros({D}));
    Pass pass;
    pass.noise = Random(3);
    const Tensor x = image_batch(4), u = Random(3).uniform(x.shape());
    const Tensor log_prob = model.density().log_prob(x, pass);
    for (Index image = 0; image < 4; ++image) {
      double expected = 0;
      for (Index i = image * D; i < (image + 1) * D; ++i) {
        const double y = ((x[i] + double{u[i]}) / 256 + a) * (1 - 2 * a);
        const double z = std::log(y / (1 - y));
        expected += -z * z / 2 - std::log(2 * std::numbers::pi) / 2 - std::log(y * (1 - y)) +
                    std::log((1 - 2 * a) / 256);
      }
      EXPECT_NEAR(log_prob[image], expected, 10 * tolerance * std::abs(expected)) << a;
    }
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

// Every row of the tables of which models are made makes what it says, wherever it suits.
#include "backflow/apps/model/layers.h"

#include <set>

#include "backflow/apps/model/activations.h"
#include "backflow/apps/model/architectures.h"
#include "backflow/apps/model/initial_values.h"
#include "backflow/apps/model/model.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"
#include "backflow/tests/apps/files/scratch.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr ImageShape image{1, 4, 4};

Config tiny(const std::string& architecture, const std::string& layer) {
  Config config;
  config.architecture = architecture;
  config.layer = layer;
  config.num_blocks = 2;
  config.block_size = 1;
  config.width = 4;
  config.num_layers = 2;
  return config;
}

template <class F>
void for_each_layer(const F& f) {
  for (const LayerRow& row : layers().rows())
    for (const std::string& architecture : row.architectures) {
      SCOPED_TRACE(architecture + ", " + row.name);
      f(row, tiny(architecture, row.name));
    }
}

TEST(Layers, SuitArchitecturesThatThereAre) {
  for (const LayerRow& row : layers().rows()) {
    EXPECT_FALSE(row.architectures.empty()) << row.name;
    for (const std::string& architecture : row.architectures)
      EXPECT_TRUE(architectures().contains(architecture)) << row.name << ", " << architecture;
  }
  for (const std::string& architecture : architectures().names())
    EXPECT_TRUE(std::ranges::any_of(layers().rows(), [&](const LayerRow& row) {
      return row.suits(architecture);
    })) << architecture;
}

TEST(Layers, MakeModelsThatGiveExamplesBack) {
  for_each_layer([](const LayerRow&, const Config& config) {
    validate(config);
    const Model model(config, image);
    const NoGrad no_grad;
    const Tensor pixels =
        pointwise(Random(1).uniform({3, 1, 4, 4}), [](Real u) { return std::floor(256 * u); });
    Pass pass;
    pass.inverse = Inverse::exact;
    const Tensor z = model.flow().forward(pixels, pass).z.value();
    const Tensor back = model.flow().inverse(z, pass).reshape(pixels.shape());
    expect_close(back, pixels, 1e-2, "pixels");
  });
}

TEST(Layers, HaveAReconstructionLossIfAndOnlyIfTheySaySo) {
  for_each_layer([](const LayerRow& row, const Config& config) {
    const Model model(config, image);
    Pass pass;
    pass.mode = Mode::train;
    pass.noise = Random(1);
    model.density().objective(Tensor::full({3, 1, 4, 4}, 128), pass);
    EXPECT_EQ(!pass.losses.empty(), row.has_reconstruction);
  });
}

// And the rows' other claims: that the configured size of a kernel matters, and is in the words.
TEST(Layers, HaveTheConfiguredKernelIfAndOnlyIfTheySaySo) {
  for_each_layer([](const LayerRow& row, Config config) {
    const auto& architecture = architectures()[config.architecture];
    if (!architecture.of_blocks) return;
    const Index before = Model(config, image).parameter_count();
    const std::string words = architecture.describe(config);
    EXPECT_NE(words.find(row.words), std::string::npos) << words;
    config.kernel_size = 5;
    EXPECT_EQ(Model(config, image).parameter_count() != before, row.has_kernel_size);
    EXPECT_EQ(architecture.describe(config) != words, row.has_kernel_size);
  });
}

// Each of them at least three times: the value, and the gradients of the input and of the weights.
TEST(Layers, NeedProductsWithTheirOwnWeightsOnly) {
  for_each_layer([](const LayerRow& row, const Config& config) {
    const Plan plan = plan_of(config, image);
    Index sites = 0;
    for (const Part& part : plan.parts) {
      if (part.products != row.products) continue;
      ++sites;
      Index weights = 0;
      for (const Product& product : row.products(part.site)) {
        EXPECT_GE(product.times, 3);
        weights += product.w.size();
      }
      Index parameters = 0;
      for (const auto& [name, parameter] : row.make(part.site)->parameters())
        parameters += parameter->value().size();
      if (row.make_base)
        for (const auto& [name, parameter] : row.make_base(part.site)->parameters())
          parameters += parameter->value().size();
      EXPECT_LE(weights, parameters);
    }
    EXPECT_EQ(sites, config.architecture == "vector" ? 1 : 2);
  });
}

// All of the weights are in the products, so they miss none.
TEST(Layers, OnVectorsNeedProductsWithAllTheirWeights) {
  for (const std::string context : {"none", "label"})
    for (const std::string name :
         {"nice", "real_nvp", "maf", "neural_spline_coupling", "residual_flow"}) {
      if (context != "none" && !layers()[name].takes_context) continue;
      SCOPED_TRACE(name + ", " + context);
      Config config = tiny("vector", name);
      config.num_layers = 3, config.context = context;
      const Plan plan = plan_of(config, {1, 3, 3});  // an odd number of pixels
      const Part& part = plan.parts.back();
      std::multiset<Index> expected, found;
      for (const Product& product : part.products(part.site)) expected.insert(product.w.size());
      for (const auto& [parameter, value] : part.make(part.site)->parameters())
        if (value->shape().rank() == 2) found.insert(value->value().size());
      EXPECT_EQ(found, expected);
    }
}

TEST(Layers, OnVectorsAreToldTheContextIfAndOnlyIfTheySaySo) {
  for_each_layer([](const LayerRow& row, Config config) {
    config.context = "label";
    EXPECT_EQ(message_of([&] { validate(config); }).empty(), row.takes_context);
    if (!row.takes_context) return;
    const Model model(config, image);
    EXPECT_EQ(model.flow().context(), 10);
    EXPECT_EQ(model.context().width, 10);
  });
}

TEST(Activations, OfEveryNameMakeAnotherModel) {
  std::vector<std::vector<Real>> all;
  for (const std::string& name : activations().names()) {
    Config config = tiny("cnn", "exact");
    config.activation = name;
    const Model model(config, image);
    all.push_back(model.density().log_prob(Tensor::full({1, 1, 4, 4}, 100)).values());
  }
  for (std::size_t i = 0; i < all.size(); ++i)
    for (std::size_t j = 0; j < i; ++j)
      EXPECT_TRUE(all[i] != all[j] || activations().names()[i] == "learnable_leaky_relu")
          << activations().names()[i] << " is " << activations().names()[j];
}

TEST(InitialValues, AreOrthogonal) {
  for (const InitRow& row : initial_values().rows()) {
    const auto [W, b] = row.make(5, Random(1));
    expect_close(matmul(W, transposed(W)), Tensor::identity(5), 1e-5, row.name);
    EXPECT_EQ(b.shape(), Shape{5});
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

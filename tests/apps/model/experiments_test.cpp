#include "backflow/apps/model/experiments.h"

#include <array>
#include <cmath>
#include <map>
#include <tuple>

#include "backflow/apps/model/nearest.h"
#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

TEST(Experiments, HaveValidDefaultsAndAreFoundByTheirNames) {
  for (const Experiment& experiment : experiments()) {
    EXPECT_EQ(message_of([&] { validate(experiment.config); }), "");
    EXPECT_EQ(&find_experiment(experiment.config.experiment), &experiment);
  }
}

TEST(Experiments, AreDescribedAsTheyAreConfigured) {
  using Setting = std::array<const char*, 2>;
  const std::vector<std::tuple<const char*, std::vector<Setting>, const char*>> cases = {
      {"selfnorm_fc_mnist", {}, "2 self-normalizing FC, smooth leaky ReLU"},
      {"selfnorm_fc_mnist", {{"layer", "exact"}}, "2 exact FC, smooth leaky ReLU"},
      {"exact_fc_mnist",
       {{"layer", "relative_gradient"}, {"num_layers", "5"}, {"activation", "spline"}},
       "5 relative-gradient FC, spline"},
      {"exact_fc_mnist", {{"activation", "identity"}}, "2 exact FC, no activation"},
      {"exact_fc_mnist", {{"geco_rate", "0.1"}}, "2 exact FC, smooth leaky ReLU"},
      {"selfnorm_fc_mnist",
       {{"geco_rate", "0.1"}, {"activation", "smooth_tanh"}},
       "2 self-normalizing FC, smooth tanh, GECO"},
      {"selfnorm_fc_mnist",
       {{"architecture", "cnn"}},
       "9 self-normalizing conv 3x3, 3 blocks, smooth leaky ReLU"},
      {"emerging_cnn_mnist", {}, "9 emerging convolutions, 3 blocks, spline"},
      {"emerging_cnn_mnist",
       {{"num_blocks", "1"}, {"block_size", "1"}, {"activation", "leaky_relu"}},
       "1 emerging convolution, 1 block, leaky ReLU"},
      {"exponential_cnn_mnist",
       {{"block_size", "2"}},
       "6 convolution exponentials, 3 blocks, spline"},
      {"exact_cnn_mnist",
       {{"kernel_size", "5"}, {"activation", "learnable_leaky_relu"}},
       "9 exact conv 5x5, 3 blocks, learnable leaky ReLU"},
      {"conv1x1_glow_cifar", {}, "Glow L=3 K=32, 1x1 conv"},
      {"conv1x1_glow_cifar",
       {{"layer", "exact"}, {"kernel_size", "3"}, {"num_blocks", "2"}, {"block_size", "4"}},
       "Glow L=2 K=4, exact 3x3"},
      {"maf_mnist", {}, "MAF, 5 layers, networks 2 x 1024"},
      {"maf_mnist", {{"context", "label"}}, "MAF, 5 layers, networks 2 x 1024, given the label"},
      {"idf_mnist", {}, "integer discrete flow, 4 layers, networks 1 x 128"},
      {"residual_mnist", {}, "Residual Flow, 4 layers, networks 1 x 128"},
      {"realnvp_mnist",
       {{"num_layers", "1"}, {"depth", "0"}},
       "Real NVP, 1 layer, affine networks"},
      {"geco_selfnorm_glow_mnist", {}, "Glow L=2 K=4, self-normalizing 5x5, GECO"},
      {"geco_selfnorm_glow_mnist", {{"geco_rate", "0"}}, "Glow L=2 K=4, self-normalizing 5x5"}};
  for (const auto& [name, settings, description] : cases) {
    Config config = find_experiment(name).config;
    for (const auto& [key, value] : settings) set_field(config, key, value);
    EXPECT_EQ(model_description(config), description);
  }
}

TEST(Experiments, AreThePapersUntilTheModelChangesOrItsImages) {
  for (const Experiment& experiment : experiments())
    EXPECT_EQ(is_papers_model(experiment.config), !experiment.paper.empty())
        << experiment.config.experiment;
  EXPECT_FALSE(is_papers_model(Config()));  // of no experiment
  const auto still_the_papers = [](const char* key, const char* value) {
    Config config = find_experiment("selfnorm_fc_mnist").config;
    set_field(config, key, value);
    return is_papers_model(config);
  };
  const std::map<std::string, const char*> others = {
      {"dataset", "fashion_mnist"}, {"context", "label"},     {"depth", "3"},
      {"architecture", "cnn"},      {"layer", "exact"},       {"num_layers", "3"},
      {"num_blocks", "2"},          {"block_size", "2"},      {"width", "16"},
      {"kernel_size", "5"},         {"activation", "spline"}, {"alpha", "0.2"},
      {"logit_alpha", "0.001"}};
  const Config config;
  Config::visit(config, [&]<class T>(const char* key, const T&, const char*) {
    if (key == std::string("experiment")) return;
    const auto other = others.find(key);
    const char* const value = other != others.end()            ? other->second
                              : std::is_same_v<T, std::string> ? "other"
                                                               : "1";
    EXPECT_EQ(still_the_papers(key, value), other == others.end()) << key;
  });
}

TEST(Experiments, HaveThePapersFigureInNatsWhereItIsInBits) {
  EXPECT_NEAR(*find_experiment("maf_mnist").paper_nll, 1.89 * 784 * std::log(2), 1e-9);
  EXPECT_NEAR(*find_experiment("conv1x1_glow_cifar").paper_nll, 3.36 * 3072 * std::log(2), 1e-9);
}

TEST(Experiments, AreComparedWithThePaperOnItsImagesOnly) {
  const Config config = find_experiment("selfnorm_fc_mnist").config;
  Config changed = config, others = config;
  changed.layer = "exact";
  others.dataset = "fashion_mnist";
  ImageSplits mnist, fashion, own;
  mnist.name = "MNIST", mnist.published = true;
  fashion.name = "Fashion-MNIST", fashion.published = true;
  own.name = "MNIST";  // a directory of that name
  EXPECT_TRUE(is_comparable(config, mnist));
  EXPECT_FALSE(is_comparable(changed, mnist));
  EXPECT_FALSE(is_comparable(config, fashion));
  EXPECT_FALSE(is_comparable(config, own));
  EXPECT_FALSE(is_comparable(others, fashion));
}

TEST(Experiments, AnUnknownNameIsAnsweredWithTheNearest) {
  expect_message(message_of([] { find_experiment("selfnrm_fc_mnist"); }), "[experiment]",
                 "'selfnrm_fc_mnist'", "did you mean 'selfnorm_fc_mnist'?", "snf list");
  expect_message(message_of([] { find_experiment("selfnrm_cnn"); }),
                 "did you mean 'selfnorm_cnn_mnist'?");
}

TEST(Nearest, IsTheWordWithTheNearestBeginning) {
  const std::vector<std::string> words = {"fc", "selfnorm_fc_mnist", "selfnorm_cnn_mnist",
                                          "selfnorm_cnn"};
  EXPECT_EQ(nearest("selfnrm_fc", words), "selfnorm_fc_mnist");
  EXPECT_EQ(nearest("selfnrm_cnn_m", words), "selfnorm_cnn_mnist");
  EXPECT_EQ(nearest("selfnrm_cnn", words), "selfnorm_cnn");         // the whole of it is nearer
  EXPECT_EQ(nearest("mnist", {"list", "selfnorm_mnist"}), "list");  // an end is no beginning
}

TEST(Nearest, IsTheWordThatNeedsTheFewestEdits) {
  const std::vector<std::string> words = {"train", "evaluate", "sample", "bench", "list"};
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"train", "train"}, {"trian", "train"},  {"evalaute", "evaluate"}, {"smple", "sample"},
      {"bnech", "bench"}, {"lists", "list"},   {"tain", "train"},        {"xsample", "sample"},
      {"", "list"},       {"samplr", "sample"}};
  for (const auto& [typed, meant] : cases) EXPECT_EQ(nearest(typed, words), meant) << typed;
  EXPECT_EQ(nearest("ac", {"zz", "abc"}), "abc");     // one insertion, not two replacements
  EXPECT_EQ(nearest("abc", {"abzz", "ac"}), "ac");    // one deletion
  EXPECT_EQ(nearest("abc", {"abzz", "axc"}), "axc");  // one replacement
  EXPECT_EQ(nearest("ab", {"ax", "xb"}), "ax");       // the first of several
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

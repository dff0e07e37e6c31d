// What must hold for each of the experiments, shown on models of the same kind that are a
// few pixels large.
#include <map>

#include "backflow/apps/data/purposes.h"
#include "backflow/apps/model/checkpoint.h"
#include "backflow/ops/finite.h"
#include "backflow/ops/pointwise.h"
#include "backflow/tests/apps/files/scratch.h"
#include "backflow/tests/apps/model/tiny_experiment.h"
#include "backflow/tests/check.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

TEST(EveryExperiment, LearnsItsImages) {
  for_each_experiment([](const Tiny& tiny) {
    const Model model(tiny.config, tiny.image);
    const auto optimizer = make_optimizer(tiny.config, model);
    tiny.train(model, *optimizer, 1);
    const double before = tiny.nll(model);
    tiny.train(model, *optimizer, 60);
    EXPECT_LT(tiny.nll(model), before);
  });
}

TEST(EveryExperiment, AllocatesNothingAfterItsFirstSteps) {
  for_each_experiment([](const Tiny& tiny) {
    // Its series are broken off at random: one may be longer than any before.
    if (tiny.config.layer == "residual_flow") return;
    const Model model(tiny.config, tiny.image);
    const auto optimizer = make_optimizer(tiny.config, model);
    tiny.train(model, *optimizer, 3);
    const Index asked = memory_use().system_allocations;
    tiny.train(model, *optimizer, 10);
    EXPECT_EQ(memory_use().system_allocations, asked);
  });
}

TEST(EveryExperiment, EveryStepMovesEveryParameter) {  // so its checkpoints name one count of steps
  for_each_experiment([](const Tiny& tiny) {
    const Model model(tiny.config, tiny.image);
    const auto optimizer = make_optimizer(tiny.config, model);
    tiny.train(model, *optimizer, 2);
    for (const auto& [name, steps] : optimizer->other_steps())
      ADD_FAILURE() << name << " was moved " << steps << " times";
  });
}

TEST(EveryExperiment, TrainsToTheSameBitsOnAnyThreads) {
  for_each_experiment([](const Tiny& tiny) {
    expect_same_bits_on_any_threads([&] {
      const Model model(tiny.config, tiny.image);
      const auto optimizer = make_optimizer(tiny.config, model);
      tiny.train(model, *optimizer, 3);
      std::vector<Tensor> all = state_of(model);
      all.push_back(model.density().log_prob(tiny.batch(), tiny.pass(model)));
      Pass pass;
      pass.context = model.context().in_turn(3);
      all.push_back(model.density().sample(3, Random(1, purposes::sampling), 0.5, pass));
      return all;
    });
  });
}

TEST(EveryExperiment, GoesOnFromACheckpointWithTheSameBits) {
  const Scratch scratch;
  for_each_experiment([&](const Tiny& tiny) {
    const Model model(tiny.config, tiny.image);
    const auto optimizer = make_optimizer(tiny.config, model);
    tiny.train(model, *optimizer, 2);
    const auto file = scratch / tiny.config.experiment;
    save_checkpoint(file, tiny.config, model, *optimizer, {});
    tiny.train(model, *optimizer, 2);

    const Checkpoint checkpoint = load_checkpoint(file, tiny.config.experiment);
    const Config config = config_of(checkpoint, find_experiment(tiny.config.experiment));
    const Model resumed(config, image_of(checkpoint, config));
    const auto resumed_optimizer = make_optimizer(config, resumed);
    restore(resumed, checkpoint);
    restore(*resumed_optimizer, checkpoint);
    tiny.train(resumed, *resumed_optimizer, 2);
    const auto expected = state_of(model), found = state_of(resumed);
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < found.size(); ++i)
      EXPECT_EQ(found[i].values(), expected[i].values()) << "tensor " << i;
  });
}

TEST(EveryExperiment, GivesItsImagesBackThroughTheExactInverse) {
  for_each_experiment([](const Tiny& tiny) {
    const Model model(tiny.config, tiny.image);
    const auto optimizer = make_optimizer(tiny.config, model);
    tiny.train(model, *optimizer, 5);
    const NoGrad no_grad;
    Pass pass = tiny.pass(model);
    const Tensor x = tiny.batch();
    const Tensor z = model.flow().forward(x, pass).z.value();
    EXPECT_TRUE(all_finite(z));
    expect_close(model.flow().inverse(z, pass).reshape(x.shape()), x, 1e-3, "pixels");
  });
}

// Rounding to whole pixels hides errors, so here only the layers behind the preprocessing.
TEST(EveryExperiment, IsInvertedToRounding) {
  for_each_experiment([](const Tiny& tiny) {
    const Model model(tiny.config, tiny.image);
    const std::size_t preprocessing = model.is_of_whole_numbers() ? 0 : 4;
    const auto optimizer = make_optimizer(tiny.config, model);
    tiny.train(model, *optimizer, 5);
    const NoGrad no_grad;
    const Tensor context = tiny.pass(model).context.value();
    Pass pass;
    pass.inverse = Inverse::exact;
    const auto& layers = model.flow().layers();
    const auto told = [&](std::size_t i) -> Pass& {
      pass.context = layers[i]->context() > 0 ? context : Tensor();
      return pass;
    };
    Var z = tiny.batch();
    for (std::size_t i = 0; i < preprocessing; ++i) z = layers[i]->forward(z, told(i)).z;
    const Tensor x = z.value();
    for (std::size_t i = preprocessing; i < layers.size(); ++i)
      z = layers[i]->forward(z, told(i)).z;
    Tensor back = z.value();
    for (std::size_t i = layers.size(); i-- > preprocessing;)
      back = layers[i]->inverse(back, told(i));
    expect_close(back.reshape(x.shape()), x, in_double ? 1e-8 : 1e-3, "layers");
  });
}

TEST(EveryExperiment, HasAFiniteLikelihoodOfBlackAndWhiteImages) {
  for_each_experiment([](const Tiny& tiny) {
    const Model model(tiny.config, tiny.image);
    for (const Real pixel : {0, 255}) {
      const Tensor x = Tensor::full(tiny.batch().shape(), pixel);
      EXPECT_TRUE(all_finite(model.density().log_prob(x, tiny.pass(model)))) << pixel;
    }
  });
}

TEST(EveryExperiment, KnowsWhetherItsObjectiveIsALikelihoodAndItsInverseLearned) {
  struct Answers {
    bool likelihood, learned;
  };
  const std::map<std::string, Answers> papers = {{"relative_gradient_fc_mnist", {false, false}},
                                                 {"exact_fc_mnist", {true, false}},
                                                 {"selfnorm_fc_mnist", {false, true}},
                                                 {"emerging_cnn_mnist", {true, false}},
                                                 {"selfnorm_cnn_mnist", {false, true}},
                                                 {"exponential_cnn_mnist", {false, false}},
                                                 {"exact_cnn_mnist", {true, false}},
                                                 {"conv1x1_glow_mnist", {true, false}},
                                                 {"selfnorm_glow_mnist", {false, true}},
                                                 {"geco_selfnorm_glow_mnist", {false, true}},
                                                 {"conv1x1_glow_cifar", {true, false}},
                                                 {"selfnorm_glow_cifar", {false, true}},
                                                 {"conv1x1_glow_imagenet", {true, false}},
                                                 {"selfnorm_glow_imagenet", {false, true}},
                                                 {"nice_mnist", {true, false}},
                                                 {"realnvp_mnist", {true, false}},
                                                 {"maf_mnist", {true, false}},
                                                 {"nsf_mnist", {true, false}},
                                                 {"idf_mnist", {true, false}},
                                                 {"residual_mnist", {false, false}}};
  for (const auto& [name, answers] : papers) {
    const Tiny tiny(find_experiment(name));
    const Model model(tiny.config, tiny.image);
    EXPECT_EQ(model.objective_is_likelihood(), answers.likelihood) << name;
    EXPECT_EQ(model.has_learned_inverse(), answers.learned) << name;
  }
}

TEST(EveryExperiment, WhoseObjectiveIsALikelihoodTrainsOnTheExactOne) {
  for_each_experiment([](const Tiny& tiny) {
    const Model model(tiny.config, tiny.image);
    const auto optimizer = make_optimizer(tiny.config, model);
    tiny.train(model, *optimizer, 5);
    const NoGrad no_grad;
    Pass pass = tiny.pass(model);
    pass.noise = Random(3);
    const Tensor log_prob = model.density().log_prob(tiny.batch(), pass);
    pass.mode = Mode::train;
    const Tensor objective = model.density().objective(tiny.batch(), pass).value();
    double difference = 0;
    for (Index i = 0; i < objective.size(); ++i)
      difference = std::max(difference, std::abs(double{objective[i]} - log_prob[i]));
    if (model.objective_is_likelihood()) {
      EXPECT_LT(difference, 1e-3);
    }
  });
}

// Of images that are 0 or 255 by their labels: who is told the label knows them well.
TEST(EveryExperiment, ThatTakesAContextLearnsFromIt) {
  for_each_experiment([](const Tiny& given) {
    if (given.config.context == "none") return;
    Tiny tiny = given;
    for (std::size_t i = 0; i < tiny.images.pixels.size(); ++i)
      tiny.images.pixels[i] = tiny.images.labels[i / 16] % 2 == 0 ? 0 : 255;
    const Model model(tiny.config, tiny.image);
    const auto optimizer = make_optimizer(tiny.config, model);
    tiny.train(model, *optimizer, 60);
    const double told = tiny.nll(model);
    for (std::uint8_t& label : tiny.images.labels) label = (label + 1) % 10;
    EXPECT_GT(tiny.nll(model), told + 5);
  });
}

TEST(EveryExperiment, IsKnownToTheTableByItsDefaults) {
  for (const Experiment& experiment : experiments()) {
    const Config& c = experiment.config;
    EXPECT_EQ(c.experiment.find("selfnorm") != std::string::npos, c.layer == "self_normalizing");
    EXPECT_TRUE(c.experiment.ends_with(c.dataset == "cifar10"      ? "_cifar"
                                       : c.dataset == "imagenet32" ? "_imagenet"
                                                                   : "_mnist"));
    if (c.architecture != "vector") {
      EXPECT_NE(c.experiment.find(c.architecture), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

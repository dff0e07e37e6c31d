// Checkpoints written by an old program load, mean the same and go on, for ever: the names of
// parameters, buffers, the optimizer's state and metadata are a format.
#include "backflow/tests/apps/model/old_checkpoints.h"

#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

const std::string directory = BACKFLOW_SOURCE_ROOT "/tests/data/checkpoints/";

// Another kernel of OpenBLAS sums in another order: five of them were within 2e-8 and 4e-14.
double tolerance(const OldNlls& nlls) {
  const double same_kernel = sizeof(Real) == sizeof(double) ? 1e-10 : 1e-5;
  return nlls.kernel == openblas_get_corename() ? same_kernel : 10 * same_kernel;
}

struct Restored {
  explicit Restored(const OldCheckpoint& old)
      : checkpoint(load_checkpoint(directory + old.name + "_" + precision_name + ".safetensors",
                                   old.experiment)),
        config(config_of(checkpoint, find_experiment(old.experiment))),
        model(config, image_of(checkpoint, config)),
        optimizer(make_optimizer(config, model)) {
    restore(model, checkpoint);
    restore(*optimizer, checkpoint);
  }
  Checkpoint checkpoint;
  Config config;
  Model model;
  std::unique_ptr<Optimizer> optimizer;
};

template <class F>
void for_each_old_checkpoint(const F& f) {
  for (const OldCheckpoint& old : old_checkpoints()) {
    SCOPED_TRACE(old.name);
    EXPECT_NO_THROW(f(old));
  }
}

TEST(OldCheckpoints, HaveTheirExactNllStill) {
  const OldNlls expected = read_old_nlls(directory + "nll.txt");
  ASSERT_EQ(expected.by_name.size(), old_checkpoints().size());
  for_each_old_checkpoint([&](const OldCheckpoint& old) {
    const Restored now(old);
    const double nll = expected.by_name.at(old.name).saved;
    EXPECT_NEAR(old_nll(now.model, now.config), nll, tolerance(expected) * std::abs(nll));
  });
}

TEST(OldCheckpoints, GoOnAsTheyWouldHave) {
  const OldNlls expected = read_old_nlls(directory + "nll.txt");
  for_each_old_checkpoint([&](const OldCheckpoint& old) {
    const Restored now(old);
    take_old_steps(now.model, *now.optimizer, now.config, steps_after);
    const double nll = expected.by_name.at(old.name).resumed;
    EXPECT_NEAR(old_nll(now.model, now.config), nll, tolerance(expected) * std::abs(nll));
  });
}

TEST(OldCheckpoints, AreOfTheModelThatTheirRecipeDescribes) {
  for_each_old_checkpoint([](const OldCheckpoint& old) {
    Config expected = config_of(old);
    expected.epochs = Config().epochs;
    EXPECT_EQ(to_json(Restored(old).config), to_json(expected));
  });
}

TEST(OldCheckpoints, KeepTheirPlaceInTheData) {
  for_each_old_checkpoint([](const OldCheckpoint& old) {
    const Restored now(old);
    const Position place = position_of(now.checkpoint);
    EXPECT_EQ(now.optimizer->steps(), steps_before);
    EXPECT_EQ(place.epoch, old_position.epoch);
    EXPECT_EQ(place.batch, old_position.batch);
    EXPECT_EQ(place.objective_sum, old_position.objective_sum);
    EXPECT_EQ(place.reconstruction_sum, old_position.reconstruction_sum);
    EXPECT_EQ(place.best_epoch, old_position.best_epoch);
    EXPECT_EQ(place.best_nll, old_position.best_nll);
    EXPECT_EQ(place.best_test_nll, old_position.best_test_nll);
    EXPECT_EQ(place.data_checksum, old_position.data_checksum);
  });
}

// New ones may say more, but what an old program reads is as it was, so that it reads them too.
TEST(OldCheckpoints, SavedAgainHoldTheSame) {
  const Scratch scratch;
  for_each_old_checkpoint([&](const OldCheckpoint& old) {
    const Restored now(old);
    save_checkpoint(scratch / "again", now.config, now.model, *now.optimizer,
                    position_of(now.checkpoint));
    const TensorFile again = load_safetensors(scratch / "again");
    const TensorFile before = load_safetensors(now.checkpoint.name);
    EXPECT_EQ(again.tensors.size(), before.tensors.size());
    for (const auto& [name, tensor] : before.tensors) {
      ASSERT_TRUE(again.tensors.contains(name)) << name;
      EXPECT_EQ(again.tensors.at(name).shape(), tensor.shape()) << name;
      EXPECT_EQ(again.tensors.at(name).values(), tensor.values()) << name;
    }
    for (const auto& [key, text] : before.metadata) {
      ASSERT_TRUE(again.metadata.contains(key)) << key;
      if (key != "config") {
        EXPECT_EQ(again.metadata.at(key), text) << key;
      }
    }
  });
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

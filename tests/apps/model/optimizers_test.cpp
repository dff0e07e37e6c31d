#include "backflow/apps/model/optimizers.h"

#include "backflow/apps/model/checkpoint.h"
#include "backflow/tests/apps/model/small_model.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

TEST(Optimizers, TheirTensorsAreKnownByTheNameOfTheirRow) {
  const Model model(small_config(), small_image);
  for (const OptimizerRow& row : optimizers().rows()) {
    const auto optimizer = row.make(model.flow().parameters(), Config());
    const std::vector<NamedTensor> state = optimizer->state();
    EXPECT_GE(state.size(), model.flow().parameters().size()) << row.name;
    for (const auto& [name, tensor] : state) {
      EXPECT_TRUE(name.starts_with(row.state_prefix())) << row.name << ": " << name;
      EXPECT_TRUE(is_optimizer_state(name)) << name;
    }
  }
  for (const char* other : {"4.weight_fwd", "adam", "adams.m.4.weight_fwd", "sg.v.x", ""})
    EXPECT_FALSE(is_optimizer_state(other)) << other;
}

TEST(Optimizers, TheConfigurationReachesThem) {
  const std::vector<std::array<std::string, 3>> options = {
      {"sgd", "momentum", "0.5"},      {"adam", "adam_beta1", "0.5"},
      {"adam", "adam_beta2", "0.5"},   {"adamw", "adam_beta1", "0.5"},
      {"adamw", "adam_beta2", "0.5"},  {"adamw", "weight_decay", "0.5"},
      {"adamax", "adam_beta1", "0.5"}, {"adamax", "adam_beta2", "0.5"}};
  const auto trained = [](const Config& config) {
    const Model model(config, small_image);
    train_a_little(model, *make_optimizer(config, model), config);
    return values_of(model);
  };
  for (const auto& [optimizer, key, value] : options) {
    Config usual = small_config();
    usual.optimizer = optimizer;
    Config other = usual;
    set_field(other, key, value);
    EXPECT_NE(trained(other), trained(usual)) << optimizer << ", " << key;
  }
}

TEST(Optimizers, AFileOfEachLoadsIntoAModel) {
  for (const OptimizerRow& row : optimizers().rows()) {
    Config config = small_config();
    config.optimizer = row.name;
    const Model model(config, small_image), loaded(config, small_image);
    const auto optimizer = make_optimizer(config, model);
    train_a_little(model, *optimizer, config);
    const Scratch scratch;
    save_checkpoint(scratch / "file", config, model, *optimizer, {});
    restore(loaded, load_checkpoint(scratch / "file", config.experiment));
    EXPECT_EQ(values_of(loaded), values_of(model)) << row.name;
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

// The metadata of a checkpoint, whose tensors are in order: what is restored survives to be saved
// and loaded, and what is refused changes nothing. The input is lines KEY=VALUE.
#include "backflow/apps/model/checkpoint.h"
#include "backflow/apps/train/step.h"
#include "backflow/tests/fuzz/fuzz.h"
#include "backflow/tests/fuzz/lines.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// The state of a model for images of 2 x 2 pixels.
struct State {
  const Experiment& experiment = find_experiment("selfnorm_fc_mnist");
  Model model{experiment.config, {1, 2, 2}};
  std::unique_ptr<Optimizer> optimizer = make_optimizer(experiment.config, model);
};

TensorFile file_with(const State& state, std::string_view lines) {
  TensorFile file;
  for (const auto& [name, tensor] : state.optimizer->state()) file.tensors[name] = *tensor;
  for (const auto& [key, value] : assignments_in(lines)) file.metadata[key] = value;
  return file;
}

// All that an optimizer's steps are, as text.
std::string steps_of(const Optimizer& optimizer) {
  std::string text = std::to_string(optimizer.steps());
  for (const auto& [name, steps] : optimizer.other_steps()) {
    promise(steps >= 0 && steps < optimizer.steps(), "a parameter's steps are some of all");
    text += " " + name + " " + std::to_string(steps);
  }
  return text;
}

bool same(const Position& a, const Position& b) {
  return a.epoch == b.epoch && a.batch == b.batch && a.objective_sum == b.objective_sum &&
         a.reconstruction_sum == b.reconstruction_sum && a.best_epoch == b.best_epoch &&
         a.best_nll == b.best_nll && a.best_test_nll == b.best_test_nll &&
         a.data_checksum == b.data_checksum && a.validation_checksum == b.validation_checksum &&
         a.test_checksum == b.test_checksum;
}

void survive(State& state, const Config& config, const Position& position) {
  const std::string steps = steps_of(*state.optimizer);
  const Output saved;
  save_checkpoint(saved.path(), config, state.model, *state.optimizer, position);
  const Checkpoint again = load_checkpoint(saved.path(), config.experiment);
  promise(same(position_of(again), position), "a position survives to be saved and loaded");
  Config loaded = config_of(again, state.experiment);
  loaded.epochs = config.epochs;  // that a checkpoint does not tell
  promise(to_json(loaded) == to_json(config), "a configuration survives to be saved and loaded");
  restore(*state.optimizer, again);
  promise(steps_of(*state.optimizer) == steps, "steps survive to be saved and loaded");
}

void restore_from(State& state, const Checkpoint& checkpoint) {
  state.optimizer->set_steps(7);
  const std::string before = steps_of(*state.optimizer);
  const bool restored =
      accepted([&] { return restore(*state.optimizer, checkpoint), true; }).value_or(false);
  if (!restored)
    promise(steps_of(*state.optimizer) == before, "a refused checkpoint changes nothing");
  const auto config = accepted([&] { return config_of(checkpoint, state.experiment); });
  if (config) accepted([&] { return image_of(checkpoint, *config); });
  const auto position = accepted([&] { return position_of(checkpoint); });
  if (restored && config && position) survive(state, *config, *position);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace backflow;
  static State state;
  const Output input;
  const auto checkpoint = accepted([&] {
    save_safetensors(input.path(), file_with(state, text_of(data, size)));
    return load_checkpoint(input.path(), state.experiment.config.experiment);
  });
  if (checkpoint) restore_from(state, *checkpoint);
  return 0;
}

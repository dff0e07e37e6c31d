#include "backflow/apps/model/checkpoint.h"

#include <algorithm>

#include "backflow/apps/files/text.h"
#include "backflow/apps/model/datasets.h"
#include "backflow/apps/model/ignored_names.h"
#include "backflow/apps/model/optimizers.h"
#include "backflow/apps/model/schedules.h"

namespace backflow::inline BACKFLOW_PRECISION {

Config config_of(const Checkpoint& checkpoint, const Experiment& experiment) {
  const auto text = checkpoint.file.metadata().find("config");
  if (text == checkpoint.file.metadata().end()) return experiment.config;
  return config_from_json(checkpoint.name, text->second);
}

ImageShape image_of(const Checkpoint& checkpoint, const Config& config) {
  if (!checkpoint.ours()) return datasets()[config.dataset].shape;
  const ImageShape image{metadata_number(checkpoint, "channels"),
                         metadata_number(checkpoint, "height"),
                         metadata_number(checkpoint, "width")};
  constexpr Index most = 4096;
  if (std::min({image.channels, image.height, image.width}) < 1 ||
      std::max({image.channels, image.height, image.width}) > most || image.size() > most * most)
    fail(checkpoint.name, "images of ", image.channels, " x ", image.height, " x ", image.width,
         " make no sense");
  return image;
}

Model make_model(const Checkpoint& checkpoint, const Config& config, const ImageShape& image) {
  if (!checkpoint.ours()) return Model(config, image);
  return Model(
      config, image,
      ParameterBudget{checkpoint.name, static_cast<Index>(checkpoint.file.element_count())});
}

void restore(const Model& model, const Checkpoint& checkpoint) {
  const std::vector<std::string> ignored = ignored_names(model.flow());
  Leniency leniency;
  leniency.may_lack_buffers = !checkpoint.ours();
  leniency.is_known = [&](const std::string& name) {
    return std::find(ignored.begin(), ignored.end(), name) != ignored.end();
  };
  leniency.unknown = "which this experiment's model does not have; is it another experiment's?";
  restore(model.density(), checkpoint, leniency);
}

void save_checkpoint(const std::filesystem::path& path, const Config& config, const Model& model,
                     Optimizer& optimizer, const Position& position) {
  Config same_however_far = config;
  if (!schedules()[config.schedule].knows_the_end) same_however_far.epochs = Config().epochs;
  save_training(path,
                {{"experiment", config.experiment},
                 {"config", to_json(same_however_far)},
                 {"channels", std::to_string(model.image().channels)},
                 {"height", std::to_string(model.image().height)},
                 {"width", std::to_string(model.image().width)}},
                model.density(), optimizer, position);
}

// Whether the weights are those at the end of the best epoch, whether or not that counts as
// finished yet: a checkpoint that is saved as the best one is from just before.
static bool is_of_best_epoch(const Position& at) {
  if (at.best_epoch == 0) return false;
  return at.best_epoch == at.epoch + 1 || (at.best_epoch == at.epoch && at.batch == 0);
}

// How far the weights were trained and, where it was measured on them, their test NLL.
static std::map<std::string, std::string> progress_of(const Checkpoint& checkpoint) {
  const std::map<std::string, std::string>& metadata = checkpoint.file.metadata();
  std::map<std::string, std::string> progress;
  if (metadata.contains("best_epoch")) {
    const Position at = position_of(checkpoint);
    if (!is_of_best_epoch(at)) return {{"epoch", std::to_string(at.epoch)}};
    return {{"epoch", std::to_string(at.best_epoch)}, {"test_nll", text("%.2f", at.best_test_nll)}};
  }
  for (const char* key : {"epoch", "test_nll"})  // it has been exported before
    if (const auto found = metadata.find(key); found != metadata.end()) progress.insert(*found);
  return progress;
}

void save_weights(const std::filesystem::path& path, const Checkpoint& checkpoint,
                  const Config& config, const Model& model) {
  TensorFile file;
  add_tensors(file, path.string(), model.density());
  file.metadata = progress_of(checkpoint);
  file.metadata["seed"] = std::to_string(config.seed);
  const std::map<std::string, std::string>& metadata = checkpoint.file.metadata();
  for (const char* key : {"experiment", "config", "channels", "height", "width", "blas_kernel"})
    if (const auto found = metadata.find(key); found != metadata.end())
      file.metadata.insert(*found);
  save_safetensors(path, file, Checksums::crc32);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

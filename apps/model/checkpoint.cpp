#include "backflow/apps/model/checkpoint.h"

#include <algorithm>

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

}  // namespace backflow::inline BACKFLOW_PRECISION

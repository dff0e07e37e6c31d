#include "backflow/apps/snf/resume.h"

#include "backflow/apps/model/datasets.h"
#include "backflow/apps/model/schedules.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace fs = std::filesystem;

static Config assigned(Config config, const TrainOptions& options) {
  for (const auto& [key, value] : options.assignments) set_field(config, key, value);
  validate(config);
  return config;
}

static std::string why_epochs_stay(const Config& begun) {
  return ": the learning rates of the schedule '" + begun.schedule +
         "' follow from the number of epochs, and those of the steps that are done would have been "
         "others";
}

static Config resumed_config(const TrainOptions& options, const Experiment& experiment,
                             const Checkpoint& checkpoint, const RunDirectory& run) {
  Config begun = config_of(checkpoint, experiment);
  const bool may_grow = !schedules()[begun.schedule].knows_the_end;
  if (may_grow) begun.epochs = load_config<Config>(run).epochs;
  const Config asked = assigned(begun, options);
  for (const auto& [key, value] : options.assignments) {
    const std::string was = field_as_text(begun, key), is = field_as_text(asked, key);
    const bool may_change = key == "lr" || (key == "epochs" && may_grow);
    if (!may_change && was != is)
      fail(key, "this run began with ", was, ", --resume asks for ", is,
           key == "epochs" ? why_epochs_stay(begun) : "",
           "; leave it out, or begin a new run with another --out");
  }
  return asked;
}

Config find_config(const TrainOptions& options, const std::optional<Checkpoint>& checkpoint,
                   const RunDirectory& run) {
  const Experiment& experiment = find_experiment(options.experiment);
  return checkpoint ? resumed_config(options, experiment, *checkpoint, run)
                    : assigned(experiment.config, options);
}

fs::path find_data(const TrainOptions& options, const RunDirectory& run, const Config& config) {
  if (!options.data.empty()) return options.data;
  const std::optional<fs::path> as_before =
      options.resume ? data_of(load_notes(run)) : std::nullopt;
  return as_before.value_or(datasets()[config.dataset].directory());
}

Position first_position(const ImageSplits& images) {
  Position position;
  position.data_checksum = images.train_checksum;
  position.validation_checksum = images.validation_checksum;
  position.test_checksum = images.test_checksum;
  return position;
}

Position find_position(const Checkpoint& checkpoint, const ImageSplits& images,
                       Index steps_per_epoch, const fs::path& data) {
  Position position = position_in(checkpoint, steps_per_epoch);
  const auto check = [&](const char* part, std::optional<std::uint32_t> was, std::uint32_t is) {
    if (was && was != is)
      fail(data.string(), "not the ", part,
           "images that this run began with; name theirs with --data");
  };
  check("", position.data_checksum, images.train_checksum);
  check("validation ", position.validation_checksum, images.validation_checksum);
  check("test ", position.test_checksum, images.test_checksum);
  position.validation_checksum = images.validation_checksum;
  position.test_checksum = images.test_checksum;
  return position;
}

RunNotes find_notes(const RunDirectory& run, const Config& config, const Position& position,
                    bool resumed, const fs::path& data) {
  std::error_code ignored;
  RunNotes notes{data, fs::current_path(ignored)};
  if (!resumed) return notes;
  notes.learning_rates = load_notes(run).learning_rates;
  const std::string was = field_as_text(load_config<Config>(run), "lr"),
                    is = field_as_text(config, "lr");
  if (was == is) return notes;
  if (notes.learning_rates.empty()) notes.learning_rates = was + " from the start";
  notes.learning_rates += ", " + is + " since epoch " + std::to_string(position.epoch + 1);
  if (position.batch > 0) notes.learning_rates += " after step " + std::to_string(position.batch);
  return notes;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

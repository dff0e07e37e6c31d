// Where a training run goes on: its configuration, images and place in them, from what was asked
// for and what an earlier process left in the run directory.
#pragma once

#include "backflow/apps/data/images.h"
#include "backflow/apps/model/checkpoint.h"
#include "backflow/apps/snf/train.h"
#include "backflow/apps/train/resume.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The experiment's configuration, changed as asked for; or the run's, of which only how far it goes
// and how fast it learns may change.
Config find_config(const TrainOptions& options, const std::optional<Checkpoint>& checkpoint,
                   const RunDirectory& run);

// The directory of the images: as asked for, or as the run had it, or the data set's own.
std::filesystem::path find_data(const TrainOptions& options, const RunDirectory& run,
                                const Config& config);

// The checkpoint's place in these images, `data` being where they are. Throws an Error when the run
// began with others, or when there is no such place.
Position find_position(const Checkpoint& checkpoint, const ImageSplits& images,
                       Index steps_per_epoch, const std::filesystem::path& data);
Position first_position(const ImageSplits& images);

// What config.json is to say beside the configuration, when the run goes on at `position`.
RunNotes find_notes(const RunDirectory& run, const Config& config, const Position& position,
                    bool resumed, const std::filesystem::path& data);

}  // namespace backflow::inline BACKFLOW_PRECISION

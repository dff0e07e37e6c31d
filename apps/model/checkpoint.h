// Checkpoints of models of images: apps/model/training_state.h with a configuration and the images'
// shape.
#pragma once

#include <filesystem>

#include "backflow/apps/model/config.h"
#include "backflow/apps/model/experiments.h"
#include "backflow/apps/model/model.h"
#include "backflow/apps/model/training_state.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The configuration and image shape a checkpoint was made with; the experiment's own for a
// state_dict from elsewhere.
Config config_of(const Checkpoint& checkpoint, const Experiment& experiment);
ImageShape image_of(const Checkpoint& checkpoint, const Config& config);

// The model of that configuration, before restore(). Fails, before any memory is asked for, when
// our own file holds fewer values than its model has parameters.
Model make_model(const Checkpoint& checkpoint, const Config& config, const ImageShape& image);

// Fails unless the file has every parameter, in its shape (axes of size 1 do not count), finite,
// and nothing that the model does not know; a state_dict from elsewhere may lack buffers. The model
// changes only if all is well.
void restore(const Model& model, const Checkpoint& checkpoint);

void save_checkpoint(const std::filesystem::path& path, const Config& config, const Model& model,
                     Optimizer& optimizer, const Position& position);

// What is left of a checkpoint of ours, which `model` was restored from, without all that only a
// training needs: parameters and buffers, and what they are of. The metadata keep the finished
// epochs and, where the weights are those of the best epoch, its test NLL.
void save_weights(const std::filesystem::path& path, const Checkpoint& checkpoint,
                  const Config& config, const Model& model);

}  // namespace backflow::inline BACKFLOW_PRECISION

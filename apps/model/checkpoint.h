// Checkpoints: a model's parameters under their state_dict names and, for going on with the same
// bits, the optimizer's state and the position in the data. Random numbers need no state: they are
// functions of (seed, purpose, epoch, example).
//
// A checkpoint holds no time, path or number of threads: equal runs make equal files.
#pragma once

#include <filesystem>
#include <optional>

#include "backflow/apps/files/safetensors.h"
#include "backflow/apps/model/config.h"
#include "backflow/apps/model/experiments.h"
#include "backflow/apps/model/model.h"
#include "backflow/engine/optimizer.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Position {
  Index epoch = 0;  // finished epochs
  Index batch = 0;  // finished steps of the next one, and the sums that its averages need:
  double objective_sum = 0;
  double reconstruction_sum = 0;
  Index best_epoch = 0;  // 0: none yet
  double best_nll = 0;
  double best_test_nll = 0;
  std::uint32_t data_checksum = 0;  // of the training images
  // Those of the other images; an old checkpoint has none.
  std::optional<std::uint32_t> validation_checksum = {}, test_checksum = {};
};

// An open file: a tensor that nobody asks for is never decoded.
struct Checkpoint {
  std::string name;  // the file's, for messages
  SafetensorsFile file;
  bool ours() const { return file.metadata().contains("experiment"); }
};

// Fails, naming the file, when it is damaged or made by another experiment.
Checkpoint load_checkpoint(const std::filesystem::path& path, const std::string& experiment);

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
// The same for the optimizer's state. These two fail for a checkpoint from elsewhere.
void restore(Optimizer& optimizer, const Checkpoint& checkpoint);
Position position_of(const Checkpoint& checkpoint);

// The kernels of OpenBLAS that it was made with, if it says so: others give other bits.
std::optional<std::string> blas_kernel_of(const Checkpoint& checkpoint);

void save_checkpoint(const std::filesystem::path& path, const Config& config, const Model& model,
                     Optimizer& optimizer, const Position& position);

}  // namespace backflow::inline BACKFLOW_PRECISION

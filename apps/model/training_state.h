// What a training keeps in its checkpoints, whatever it trains: a module's parameters under their
// state_dict names and, for going on with the same bits, the optimizer's state and the position in
// the data. Random numbers need no state: they are functions of (seed, purpose, epoch, example).
//
// A checkpoint holds no time, path or number of threads: equal runs make equal files.
#pragma once

#include <filesystem>
#include <map>
#include <optional>

#include "backflow/apps/files/module_file.h"
#include "backflow/apps/files/safetensors.h"
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
  std::uint32_t data_checksum = 0;  // of the training data
  // Those of the other data; an old checkpoint has none.
  std::optional<std::uint32_t> validation_checksum = {}, test_checksum = {};
};

// An open file: a tensor that nobody asks for is never decoded.
struct Checkpoint {
  std::string name;  // the file's, for messages
  SafetensorsFile file;
  // Made by save_training(), and no state_dict from elsewhere.
  bool ours() const { return file.metadata().contains("experiment"); }
};

// Fails, naming the file, when it is damaged or made by another experiment.
Checkpoint load_checkpoint(const std::filesystem::path& path, const std::string& experiment);

// A number of the metadata, under this key. Fails where it is missing, or something else.
Index metadata_number(const Checkpoint& checkpoint, const std::string& key);

// Fails unless the file has every parameter, in its shape (axes of size 1 do not count), finite,
// and nothing that is unknown: neither the module's nor the optimizer's, nor one that the leniency
// lets pass. The module changes only if all is well.
void restore(const Module& module, const Checkpoint& checkpoint, Leniency leniency);
// The same for the optimizer's state. These two fail for a checkpoint from elsewhere.
void restore(Optimizer& optimizer, const Checkpoint& checkpoint);
Position position_of(const Checkpoint& checkpoint);

// The kernels of OpenBLAS that it was made with, if it says so: others give other bits.
std::optional<std::string> blas_kernel_of(const Checkpoint& checkpoint);

// `metadata` says what is trained: the experiment's name, under "experiment", and all that is
// needed to make the module again.
void save_training(const std::filesystem::path& path, std::map<std::string, std::string> metadata,
                   const Module& module, Optimizer& optimizer, const Position& position);

}  // namespace backflow::inline BACKFLOW_PRECISION

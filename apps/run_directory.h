// The files of one training run, and its table of epochs.
//
//   config.json                     everything needed to repeat the run
//   metrics.csv                     one row per epoch
//   checkpoints/last.safetensors    to go on from
//   checkpoints/best.safetensors    the best validation NLL so far
//   samples/epoch_NNN.png           from the same noise in every epoch
//   reconstruction.png              input, inverse, difference
//   filters/layer_NN.png            kernels of self-normalizing convolutions
//   curve.png                       NLL against epochs
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "apps/config.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct RunDirectory {
  std::filesystem::path root;

  std::filesystem::path config() const { return root / "config.json"; }
  std::filesystem::path metrics() const { return root / "metrics.csv"; }
  std::filesystem::path last() const { return root / "checkpoints" / "last.safetensors"; }
  std::filesystem::path best() const { return root / "checkpoints" / "best.safetensors"; }
  std::filesystem::path samples(Index epoch) const;  // epoch_007.png
  std::filesystem::path reconstruction() const { return root / "reconstruction.png"; }
  std::filesystem::path filters() const { return root / "filters"; }
  std::filesystem::path curve() const { return root / "curve.png"; }

  // Makes the directories and removes what an interrupted write left behind. Throws an Error that
  // names the directory and the reason.
  void prepare() const;
};

// The configuration, and where the data came from.
void save_config(const RunDirectory& run, const Config& config, const std::filesystem::path& data);
Config load_config(const RunDirectory& run);

struct EpochMetrics {
  Index epoch = 0;                 // from 1
  double train_objective = 0;      // mean over the epoch's steps, nats per image
  double reconstruction_loss = 0;  // the same, summed over layers
  double validation_nll = 0;       // exact, nats per image
  std::optional<double> test_nll;  // only where the validation NLL is the best so far
  double learning_rate = 0;        // of the last step
  double ms_per_step = 0;
  double seconds = 0;  // of the epoch, evaluation included
};

// metrics.csv, written whole after each row: never half a row, and on disk when append() returns.
class MetricsTable {
 public:
  // Goes on after epoch `last_epoch`: later rows of an existing table are dropped, for they are
  // newer than the checkpoint. 0: a new table. Nothing is written before the first append().
  MetricsTable(std::filesystem::path path, Index last_epoch);
  void append(const EpochMetrics& row);

 private:
  std::filesystem::path path_;
  std::string text_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

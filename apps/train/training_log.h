// What a training run says on stdout: a head, one row per epoch, an end. Silent when quiet, and
// from the first line on that cannot be written: that is one warning, and the run goes on.
#pragma once

#include "backflow/apps/data/images.h"
#include "backflow/apps/model/checkpoint.h"
#include "backflow/apps/train/run_directory.h"

namespace backflow::inline BACKFLOW_PRECISION {

class TrainingLog {
 public:
  TrainingLog(const Experiment& experiment, const Config& config, const Model& model,
              const ImageSplits& images, bool quiet)
      : experiment_(experiment), config_(config), model_(model), images_(images), quiet_(quiet) {}

  void head(Index steps_per_epoch, const RunDirectory& run);
  void row(const EpochMetrics& row, Index epochs);
  void end(const Position& position, const RunDirectory& run);
  void nothing_to_do(const RunDirectory& run, Index epochs, bool can_go_on);

 private:
  void flush();

  const Experiment& experiment_;
  const Config& config_;
  const Model& model_;
  const ImageSplits& images_;
  bool quiet_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

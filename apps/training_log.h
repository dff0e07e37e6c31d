// What a training run says on stdout: a head, one row per epoch, an end. Silent when quiet.
#pragma once

#include "apps/checkpoint.h"
#include "apps/io/images.h"
#include "apps/run_directory.h"

namespace backflow::inline BACKFLOW_PRECISION {

class TrainingLog {
 public:
  TrainingLog(const Experiment& experiment, const Config& config, const Model& model, bool quiet)
      : experiment_(experiment), config_(config), model_(model), quiet_(quiet) {}

  void head(const ImageSplits& images, Index steps_per_epoch, const RunDirectory& run) const;
  void row(const EpochMetrics& row, Index epochs) const;
  void end(const Position& position, const RunDirectory& run) const;
  void nothing_to_do(const RunDirectory& run, Index epochs) const;

 private:
  const Experiment& experiment_;
  const Config& config_;
  const Model& model_;
  bool quiet_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

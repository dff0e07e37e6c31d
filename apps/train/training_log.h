// What a training run says on stdout: a head, one row per epoch, an end. Silent when quiet, and
// from the first line on that cannot be written: that is one warning, and the run goes on.
#pragma once

#include <string>

#include "backflow/apps/train/run_directory.h"

namespace backflow::inline BACKFLOW_PRECISION {

class TrainingLog {
 public:
  explicit TrainingLog(bool quiet) : quiet_(quiet) {}

  void say(const std::string& text);
  void row(const EpochMetrics& row, Index epochs);
  void nothing_to_do(const RunDirectory& run, Index epochs, bool can_go_on);

  // The names of row()'s columns: `objective` is what training minimises.
  static std::string columns(const std::string& objective);

 private:
  bool quiet_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

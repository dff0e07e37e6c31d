// What a training run says on stdout: a head, one row per epoch, an end. Silent when quiet, and
// from the first line on that cannot be written: that is one warning, and the run goes on.
#pragma once

#include <string>

#include "backflow/apps/train/run_directory.h"

namespace backflow::inline BACKFLOW_PRECISION {

// How the table of epochs looks.
struct LogColumns {
  std::string objective;       // what training minimises, as its column is called
  int digits = 1;              // of what is in nats, behind the point
  bool reconstruction = true;  // whether there is such a loss
  std::string nll = "NLL";     // what validation and test are measured by
};

class TrainingLog {
 public:
  TrainingLog(bool quiet, LogColumns columns) : quiet_(quiet), columns_(std::move(columns)) {}

  void say(const std::string& text);
  void row(const EpochMetrics& row, Index epochs);
  void nothing_to_do(const RunDirectory& run, Index epochs, bool can_go_on);

  static std::string names(const LogColumns& columns);  // of row()'s columns

 private:
  bool quiet_;
  LogColumns columns_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

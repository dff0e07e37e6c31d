// The run directory as each of several ranks sees it.
#pragma once

#include "backflow/apps/train/ranks.h"
#include "backflow/apps/train/run_directory.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Where a rank finds what an earlier process left: the first one in the run directory itself. The
// others may be on machines that do not have it: they have a temporary one for as long as this
// lives, and in it, where the run is to go on, copies of the configuration and of the checkpoint
// with which it does. All ranks make theirs at the same time.
class RunCopy {
 public:
  RunCopy(const RunDirectory& run, bool resume, Ranks& ranks);
  ~RunCopy();
  RunCopy(const RunCopy&) = delete;
  RunCopy& operator=(const RunCopy&) = delete;

  const RunDirectory& directory() const { return directory_; }

 private:
  void remove();

  RunDirectory directory_;
  bool temporary_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

// Training: epochs of steps, an exact evaluation after each, and a run directory that it can always
// go on from with the same bits.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "backflow/apps/model/config.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct TrainOptions {
  std::string experiment;
  std::filesystem::path data, out;  // no `data`: the data set's default directory
  // Fields set by name, in order; the rest is the experiment's, or, when resuming, the run's.
  std::vector<std::pair<std::string, std::string>> assignments;
  bool resume = false;
  double save_minutes = 5;      // a checkpoint within an epoch after so long; 0: none
  bool profile = false;         // at the end, what each op of the training steps cost
  bool quiet = false;           // nothing on stdout, no progress bar
  std::string program = "snf";  // how the user called us, for the command that resumes
};

// Returns 0, or 128 + its number when a signal (SIGINT, SIGTERM, SIGHUP) stopped it between two
// steps and all was saved. A picture or a line of the log that fails is a warning; a row of
// metrics.csv or a checkpoint that cannot be written is an Error, and the last good checkpoint
// stays. Throws Diverged, with epoch, step and cause; Error for bad input, before anything is
// changed.
int train(const TrainOptions& options);

}  // namespace backflow::inline BACKFLOW_PRECISION

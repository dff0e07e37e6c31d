// `snf train`: an experiment's model on images, by the training loop of apps/train.
#pragma once

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "backflow/apps/model/config.h"
#include "backflow/apps/train/ranks.h"
#include "backflow/apps/train/shard_schedule.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct TrainOptions {
  std::string experiment;
  std::filesystem::path data, out;  // no `data`: the data set's default directory
  // Fields set by name, in order; the rest is the experiment's, or, when resuming, the run's.
  std::vector<std::pair<std::string, std::string>> assignments;
  bool resume = false;
  double save_minutes = 5;  // a checkpoint within an epoch after so long; 0: none
  bool profile = false;     // at the end, what each op of the training steps cost
  std::optional<ShardSchedule> shard_schedule;  // none: the faster
  bool quiet = false;                           // nothing on stdout, no progress bar
  std::string program = "snf";  // how the user called us, for the command that resumes
};

// Returns what run_training does (apps/train/loop.h). Throws Diverged; Error for bad input, before
// anything is changed.
//
// Ranks train together, on the first one's run directory; each loads the data by itself. Throws an
// Error, too, where they cannot share the configuration's shards, or where anything that decides
// over the bits is not the same on all: it names what, the rank, and both values.
int train(const TrainOptions& options, Ranks& ranks = one_rank());

}  // namespace backflow::inline BACKFLOW_PRECISION

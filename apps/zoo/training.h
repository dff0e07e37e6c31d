// Training a flow of the zoo, on the training loop of all programs.
#pragma once

#include "backflow/apps/zoo/run.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct ZooTrainOptions {
  std::string program = "zoo";  // as it was called, for the words with which to go on
  std::string flow;
  std::vector<std::pair<std::string, std::string>> assignments;  // of fields of ZooConfig
  TableFiles files;
  std::filesystem::path out;  // empty: runs/zoo/FLOW-TARGET
  bool resume = false, quiet = false;
  double save_minutes = 5;
};

struct ZooTrained {
  int code = 0;  // as run_training() returns it
  std::filesystem::path directory;
  std::optional<ZooScore> score;  // of the best checkpoint; none if training was interrupted
};

// The configuration that is asked for, before any run is looked at. Fails for what makes no sense.
ZooConfig find_zoo_config(const ZooTrainOptions& options);

// Trains, or goes on. A run is cut into twenty pieces, the epochs of the loop: the best checkpoint
// is chosen after each.
ZooTrained train_zoo(const ZooTrainOptions& options);

}  // namespace backflow::inline BACKFLOW_PRECISION

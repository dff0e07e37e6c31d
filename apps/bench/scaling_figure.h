// The command scaling: the speed-up of a training step on many machines as tables, a CSV file and a
// figure on logarithmic axes, beside what was measured there.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// A step of a run on so many ranks, as somebody has timed it.
struct MeasuredStep {
  Index ranks;
  double ms;
};

// "2=41.5": ranks and milliseconds.
MeasuredStep parse_measured_step(const std::string& text);

struct ScalingOptions {
  std::string experiment;
  std::filesystem::path out;  // gets scaling.csv and scaling.png; empty: runs/scaling/EXPERIMENT
  std::vector<std::pair<std::string, std::string>> assignments;  // with shards=S: S alone
  Index batch_size = 0;                                          // 0: the experiment's
  Index max_ranks = 1024;
  std::optional<double> gbits;       // one network, in place of three
  std::optional<double> latency_us;  // of every network
  std::vector<MeasuredStep> measured;
  bool json = false;
};
void draw_scaling(const ScalingOptions& options);

}  // namespace backflow::inline BACKFLOW_PRECISION

// The command timescaling: the time of a training step against the dimension as a table, a figure
// on logarithmic axes, exponents and crossovers.
#pragma once

#include <filesystem>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

inline constexpr Index least_max_dim = 64, greatest_max_dim = 4064;

struct TimescalingOptions {
  // Gets timescaling.csv, whole after each point, and in the end timescaling.png.
  std::filesystem::path out = "runs/timescaling";
  Index max_dim = greatest_max_dim;
  Index batch_size = 128;
  bool json = false;
};
void draw_timescaling(const TimescalingOptions& options);

}  // namespace backflow::inline BACKFLOW_PRECISION

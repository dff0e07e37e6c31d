// The commands of the program zoo that look at flows and runs.
#pragma once

#include "backflow/apps/zoo/run.h"

namespace backflow::inline BACKFLOW_PRECISION {

// A run's directory, and where its table is now; none: where it was.
struct ZooRunOptions {
  std::filesystem::path run;
  TableFiles files;
};

struct ZooEvaluateOptions : ZooRunOptions {
  bool json = false;
};

struct ZooSampleOptions : ZooRunOptions {
  Index count = 1000;
  std::uint64_t seed = 0;
  bool csv = false;  // to stdout; else a picture
  std::filesystem::path out;
};

struct ZooDensityOptions : ZooRunOptions {
  std::filesystem::path out;
};

// All write to stdout; evaluate_zoo() returns the exit code.
void list_zoo();
int evaluate_zoo(const ZooEvaluateOptions& options);
void sample_zoo(const ZooSampleOptions& options);
void draw_zoo_density(const ZooDensityOptions& options);

}  // namespace backflow::inline BACKFLOW_PRECISION

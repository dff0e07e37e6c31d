// How many processors this process may use: the machine may have more than a container or `taskset`
// leaves to it, and more threads than processors only get in each other's way.
#pragma once

#include <string>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The processors' worth of time that control groups leave to this process, such as 1.5: the least
// quota on the way from its group up to the root, of cgroup v2 (cpu.max) or v1 (cpu.cfs_quota_us).
// Infinite without one. A function of the files below `root` alone, which is "/" but for tests.
double cgroup_quota(const std::string& root);

// The processors that this thread may run on, or the quota rounded up if that is less. At least 1.
int available_processors();

}  // namespace backflow::inline BACKFLOW_PRECISION

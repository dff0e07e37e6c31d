// A profile as a table on stdout: per training step and op, forward and backward apart.
#pragma once

#include "backflow/apps/train/profile.h"

namespace backflow::inline BACKFLOW_PRECISION {

// `step_ms` is the time of a whole step, measured on its own: the rows' sum should meet it.
void print_profile(const Profile& profile, Index steps, double step_ms);

}  // namespace backflow::inline BACKFLOW_PRECISION

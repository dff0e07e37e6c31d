#include "backflow/apps/bench/profile_table.h"

#include <cstdio>

namespace backflow::inline BACKFLOW_PRECISION {

void print_profile(const Profile& profile, Index steps, double step_ms) {
  const double n = static_cast<double>(steps), total = profile.seconds();
  std::printf("%-24s %-9s %9s %7s %10s %10s\n", "op, per step", "phase", "ms", "share", "calls",
              "MB");
  for (const auto& [key, cost] : profile.slowest_first())
    std::printf("%-24s %-9s %9.3f %6.1f%% %10.1f %10.2f\n", key.op.c_str(),
                key.phase.empty() ? "-" : key.phase.c_str(), 1000 * cost.seconds / n,
                100 * cost.seconds / total, static_cast<double>(cost.calls) / n,
                static_cast<double>(cost.bytes) / n / 1e6);
  std::printf("%-24s %-9s %9.3f %6.1f%% of the step's %.3f ms\n", "sum", "", 1000 * total / n,
              100 * 1000 * total / n / step_ms, step_ms);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

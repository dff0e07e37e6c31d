#include "backflow/apps/train/training_log.h"

#include <stdio_ext.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <system_error>

#include "backflow/apps/files/text.h"

namespace backflow::inline BACKFLOW_PRECISION {

void TrainingLog::say(const std::string& text) {
  if (quiet_) return;
  std::fputs(text.c_str(), stdout);
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return;
  std::fprintf(stderr,
               "warning: cannot write to the standard output (%s); the run goes on silently\n",
               std::generic_category().message(errno).c_str());
  __fpurge(stdout);
  std::clearerr(stdout);
  quiet_ = true;
}

// Of the columns "validation NLL" and "test NLL".
static int width_of(const LogColumns& columns, const char* split, int least) {
  return std::max(least, static_cast<int>((split + columns.nll).size()) + 1);
}

std::string TrainingLog::names(const LogColumns& columns) {
  return text("%11s %12s", "epoch", columns.objective.c_str()) +
         (columns.reconstruction ? text(" %15s", "reconstruction") : "") +
         text("%*s%*s %8s %8s\n", width_of(columns, "validation ", 16),
              ("validation " + columns.nll).c_str(), width_of(columns, "test ", 11),
              ("test " + columns.nll).c_str(), "ms/step", "seconds");
}

void TrainingLog::row(const EpochMetrics& row, Index epochs) {
  const int digits = columns_.digits;
  const std::string test_nll = row.test_nll ? text("%.*f", digits, *row.test_nll) : "-";
  say(text("%5lld/%-5lld %12.*f", number(row.epoch), number(epochs), digits, row.train_objective) +
      (columns_.reconstruction ? text(" %15.4g", row.reconstruction_loss) : "") +
      text("%*.*f%*s %8.1f %8.1f\n", width_of(columns_, "validation ", 16), digits,
           row.validation_nll, width_of(columns_, "test ", 11), test_nll.c_str(), row.ms_per_step,
           row.seconds));
}

void TrainingLog::nothing_to_do(const RunDirectory& run, Index epochs, bool can_go_on) {
  say(run.root.string() + " has its " + std::to_string(epochs) + " epochs already: nothing to do" +
      (can_go_on ? "; more with --epochs" : "") + "\n");
}

}  // namespace backflow::inline BACKFLOW_PRECISION

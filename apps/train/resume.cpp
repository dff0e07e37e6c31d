#include "backflow/apps/train/resume.h"

#include <cstdio>

#include "backflow/apps/files/quote.h"
#include "backflow/ops/blas.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace fs = std::filesystem;

static bool has_file(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// The best one is saved when its epoch's steps are done: it holds all that the last one would.
std::optional<Checkpoint> find_checkpoint(const RunDirectory& run, bool resume,
                                          const std::string& experiment) {
  if (!resume) {
    run.refuse_existing();
    return {};
  }
  if (has_file(run.last()) || !has_file(run.best())) {
    if (!has_file(run.last()))
      fail(run.last().string(),
           "no such checkpoint: there is nothing to resume; leave --resume out");
    return load_checkpoint(run.last(), experiment);
  }
  std::optional<Checkpoint> best(load_checkpoint(run.best(), experiment));
  std::fprintf(stderr, "%s is missing: going on from %s\n", run.last().c_str(), run.best().c_str());
  return best;
}

Position position_in(const Checkpoint& checkpoint, Index steps_of_epoch) {
  const Position position = position_of(checkpoint);
  if (position.batch > steps_of_epoch)  // where all steps are done, the evaluation is still to come
    fail(checkpoint.name, "epoch ", position.epoch, ", step ", position.batch,
         " is no place in epochs of ", steps_of_epoch, " steps");
  return position;
}

void warn_of_another_kernel(const Checkpoint& checkpoint) {
  const std::optional<std::string> before = blas_kernel_of(checkpoint);
  if (before && *before != blas_kernel())
    std::fprintf(stderr,
                 "warning: this run was made with OpenBLAS's kernels for %s, here they are those "
                 "for %s: it goes on, but not with the same bits\n",
                 quote(*before).c_str(), blas_kernel().c_str());
}

}  // namespace backflow::inline BACKFLOW_PRECISION

// Where a run goes on, from what an earlier process left in its directory.
#pragma once

#include <optional>
#include <string>

#include "backflow/apps/model/training_state.h"
#include "backflow/apps/train/run_directory.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The checkpoint to go on from: the last one; or, when that is lost, the best one, which is said on
// stderr. None for a new run, which must not find an old one. Throws an Error otherwise, also when
// another experiment's run is there.
std::optional<Checkpoint> find_checkpoint(const RunDirectory& run, bool resume,
                                          const std::string& experiment);

// The checkpoint's place in a run whose present epoch has so many steps. Throws an Error when there
// is no such place.
Position position_in(const Checkpoint& checkpoint, Index steps_of_epoch);

void warn_of_another_kernel(const Checkpoint& checkpoint);

}  // namespace backflow::inline BACKFLOW_PRECISION

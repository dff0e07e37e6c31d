// How the learning rate changes in the course of a run.
#pragma once

#include <string>

#include "backflow/apps/model/config.h"
#include "backflow/apps/model/table.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct ScheduleRow {
  std::string name, help;
  // True where factors depend on `epochs`: a run that goes on with another number of them is not
  // the run that would have been asked for so at the start.
  bool knows_the_end;
  // What the learning rate is multiplied by at a step; steps count from 1, through all epochs.
  double (*factor)(const Config& config, Index step, Index steps_per_epoch);
};

const Table<ScheduleRow>& schedules();

}  // namespace backflow::inline BACKFLOW_PRECISION

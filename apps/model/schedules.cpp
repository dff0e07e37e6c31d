#include "backflow/apps/model/schedules.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

Index warmup_steps(const Config& config, Index steps_per_epoch) {
  return std::llround(config.warmup_epochs * static_cast<double>(steps_per_epoch));
}

double constant(const Config&, Index, Index) { return 1; }

// Reaches 1 with the warm-up's last step: no step is wasted on a rate of 0. No warm-up: 1.
double linear_warmup(const Config& config, Index step, Index steps_per_epoch) {
  const Index warmup = warmup_steps(config, steps_per_epoch);
  return step >= warmup ? 1 : static_cast<double>(step) / static_cast<double>(warmup);
}

// The warm-up, and half a period of a cosine from its last step, 1, to the run's last one, 0.
double cosine(const Config& config, Index step, Index steps_per_epoch) {
  const Index warmup = warmup_steps(config, steps_per_epoch);
  if (step <= warmup) return linear_warmup(config, step, steps_per_epoch);
  const Index last = std::max(config.epochs * steps_per_epoch, step);
  const double way = static_cast<double>(step - warmup) / static_cast<double>(last - warmup);
  return (1 + std::cos(std::numbers::pi * way)) / 2;
}

// Whole epochs count, those of the warm-up among them.
double steps(const Config& config, Index step, Index steps_per_epoch) {
  const Index drops = (step - 1) / steps_per_epoch / config.lr_decay_epochs;
  return linear_warmup(config, step, steps_per_epoch) *
         std::pow(config.lr_decay, static_cast<double>(drops));
}

}  // namespace

const Table<ScheduleRow>& schedules() {
  static const Table<ScheduleRow> table(
      "schedule",
      {{"constant", "lr from the first step to the last", false, constant},
       {"linear_warmup", "a linear rise to lr in warmup_epochs, then constant", false,
        linear_warmup},
       {"cosine", "the same rise, then half a cosine to 0 at the last step of epochs", true,
        cosine},
       {"steps", "the same rise, and times lr_decay after every lr_decay_epochs", false, steps}});
  return table;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/apps/train/shard_schedule.h"

#include <algorithm>
#include <limits>

#include "backflow/apps/files/text.h"

namespace backflow::inline BACKFLOW_PRECISION {

const std::map<std::string, ShardSchedule>& shard_schedules() {
  static const std::map<std::string, ShardSchedule> all = {
      {"in-turn", ShardSchedule::in_turn}, {"side-by-side", ShardSchedule::side_by_side}};
  return all;
}

static const char* words_for(ShardSchedule schedule) {
  return schedule == ShardSchedule::in_turn ? "one after another" : "side by side";
}

ShardScheduler::ShardScheduler(Index shards, int threads, std::optional<ShardSchedule> asked,
                               Index ranks)
    : shards_(shards), chosen_(asked) {
  least_seconds_.fill(std::numeric_limits<double>::infinity());
  if (shards / ranks <= 1 || threads == 1) chosen_ = ShardSchedule::in_turn;
}

ShardSchedule ShardScheduler::next() const {
  return chosen_.value_or(static_cast<ShardSchedule>(steps_ % 2));
}

std::string ShardScheduler::took(double seconds) {
  if (chosen_) return "";
  const bool warming_up = steps_ < 2;
  double& least = least_seconds_[static_cast<std::size_t>(next())];
  if (!warming_up) least = std::min(least, seconds);
  if (++steps_ < 2 * rounds) return "";
  const auto [in_turn, side_by_side] = least_seconds_;
  chosen_ = side_by_side < in_turn ? ShardSchedule::side_by_side : ShardSchedule::in_turn;
  return text("%lld shards %s: %.1f ms a step one after another, %.1f side by side\n",
              number(shards_), words_for(*chosen_), 1000 * in_turn, 1000 * side_by_side);
}

std::string ShardScheduler::in_words() const {
  return text("%lld to a batch, ", number(shards_)) +
         (chosen_ ? words_for(*chosen_)
                  : "one after another or side by side, as the first steps "
                    "find faster");
}

}  // namespace backflow::inline BACKFLOW_PRECISION

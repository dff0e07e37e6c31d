// In which order the shards of a batch are computed (shards.h), and which order is the faster.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Both come to the same bits.
enum class ShardSchedule {
  in_turn,       // one after another: all threads work on the ops of one, which needs least memory
  side_by_side,  // as many at once as there are threads
};

const std::map<std::string, ShardSchedule>& shard_schedules();  // "in-turn", "side-by-side"

// Tells for each step of a run how its shards are computed. Which way is faster depends on the
// model, the machine and who else is at work there; but since the bits are the same, the first
// steps of a run can be computed both ways, and cost no more than steps do.
class ShardScheduler {
 public:
  // As is asked for; or the faster, where each of the ranks has several shards and threads.
  ShardScheduler(Index shards, int threads, std::optional<ShardSchedule> asked = {},
                 Index ranks = 1);

  ShardSchedule next() const;  // for the next step
  // How long it took. Returns what there is to say, a line, once the choice is made.
  std::string took(double seconds);
  std::string in_words() const;  // of the choice, or that it will be made

 private:
  static constexpr int rounds = 4;  // a step of each; the first round only warms up

  Index shards_;
  std::optional<ShardSchedule> chosen_;
  int steps_ = 0;
  std::array<double, 2> least_seconds_{};  // by schedule
};

}  // namespace backflow::inline BACKFLOW_PRECISION

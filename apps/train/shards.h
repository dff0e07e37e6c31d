// A batch cut by position into shards, each walked forward and back as a graph of its own, and
// their gradients added up along a fixed binary tree:
//
//   shard   0   1   2   3   4   5   6      neighbours are added, and then the sums that are
//            \ /     \ /     \ /   |       neighbours; where the number is odd, the last one waits
//             +       +       +    |       for the next round
//              \     /         \  /
//               --+--           +          So the bits depend on how many shards there are, and not
//                  \           /           on who computes which of them, or when.
//                   -----+-----
//
// One after another, shards keep the activations of one shard in the place of those of the batch,
// and at most log2(shards) + 1 sums of gradients. Side by side, one thread each, they have no
// barrier between them: what an op computes is done where it is called.
#pragma once

#include <functional>
#include <mutex>
#include <optional>

#include "backflow/apps/train/ranks.h"
#include "backflow/apps/train/shard_schedule.h"
#include "backflow/engine/backward.h"
#include "backflow/engine/module.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Shard {
  Index first, end;  // of the batch's rows, or of other things
  Index count() const { return end - first; }
};

// Their sizes differ by one at most. Where there are fewer rows than shards, some are empty.
Shard shard_of(Index rows, Index shards, Index which);

// What a shard adds to the step, and sums of it. Nothing: an empty shard's.
struct ShardSum {
  double objective = 0;
  std::vector<double> losses;
  std::vector<Tensor> gradients;  // of the parameters in order; undefined: none

  void add(ShardSum other);
};

class ShardTree {
 public:
  explicit ShardTree(Index shards);
  // Takes what a shard gave, each once, in any order and from any threads, and adds what can be
  // added.
  void add(Index shard, ShardSum sum);
  // Once all have been added; once.
  ShardSum take_total() { return std::move(total_); }

 private:
  std::mutex mutex_;
  // By round and place: what waits for its neighbour.
  std::vector<std::vector<std::optional<ShardSum>>> waiting_;
  ShardSum total_;
};

// The shards that a rank computes: [first, end). They are a subtree.
Shard shards_of_rank(const Ranks& ranks, Index shards);

// The sum of walk(shard) over all shards of this rank along the tree. A step that somebody traces
// on this thread is computed on this thread, so one shard after another.
ShardSum sum_over_shards(const Shard& shards, ShardSchedule schedule,
                         const std::function<ShardSum(Index)>& walk);

// Parameters, each once, and their gradients in and out of sums.
class GradientList {
 public:
  explicit GradientList(const std::vector<NamedParameter>& parameters);
  std::vector<Tensor> taken_from(const Gradients& gradients) const;
  // As if one backward() had found them.
  Gradients as_gradients(std::vector<Tensor> list) const;
  // Of each rank's sum the sum over all ranks, further along the tree; each rank gets it.
  // Parameters that have no gradient on some ranks, and ranks whose shards are all empty, add
  // nothing.
  void add_over_ranks(Ranks& ranks, ShardSum& sum) const;

 private:
  std::vector<const Parameter*> parameters_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

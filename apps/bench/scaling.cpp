#include "backflow/apps/bench/scaling.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "backflow/apps/train/shards.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Of one rank: its shards, and the adding up of their gradients.
struct Share {
  double compute = 0, sums = 0;
};

double time_of_shard(const StepCosts& costs, Index images) {
  const auto found = costs.shard_ms.find(images);
  if (found == costs.shard_ms.end())
    fail("predict_step", "the costs have no time of a shard of ", images, " images");
  return found->second;
}

Share share_of(const StepCosts& costs, Index ranks, Index shards, Index rank) {
  const Index each = shards / ranks;
  Share share;
  Index filled = 0;
  for (Index shard = rank * each; shard < (rank + 1) * each; ++shard) {
    const Index images = shard_of(costs.batch_size, shards, shard).count();
    if (images == 0) continue;
    share.compute += time_of_shard(costs, images);
    ++filled;
  }
  share.sums = costs.sum_ms * static_cast<double>(std::max<Index>(filled - 1, 0));
  return share;
}

Share largest_share(const StepCosts& costs, Index ranks, Index shards) {
  Share largest;
  for (Index rank = 0; rank < ranks; ++rank) {
    const Share share = share_of(costs, ranks, shards, rank);
    if (share.compute + share.sums > largest.compute + largest.sums) largest = share;
  }
  return largest;
}

ScalingRow best_row(const StepCosts& costs, const Interconnect& interconnect, Index ranks,
                    const std::vector<Index>& candidates) {
  ScalingRow best{};
  for (const Index shards : candidates) {
    const PredictedStep step = predict_step(costs, interconnect, ranks, shards);
    if (best.ranks > 0 && step.total() >= best.step.total()) continue;
    best = {ranks, shards, std::max<Index>(shards - costs.batch_size, 0), step, 1, 1};
  }
  return best;
}

}  // namespace

std::vector<Index> rank_counts(Index max_ranks, Index shards) {
  const Index most = shards > 0 ? std::min(max_ranks, shards) : max_ranks;
  std::vector<Index> counts;
  for (Index ranks = 1; ranks <= most; ranks *= 2) counts.push_back(ranks);
  return counts;
}

std::vector<Index> shard_counts(Index batch_size, Index ranks) {
  std::vector<Index> counts{ranks};
  for (Index shards = 2 * ranks; shards <= std::min(batch_size, most_shards); shards *= 2)
    counts.push_back(shards);
  return counts;
}

std::vector<Index> shard_sizes(Index batch_size, Index shards) {
  // Where there are more ranks than images, shards have one image, as the last of these, or none.
  const auto counts = shards > 0 ? std::vector{shards} : shard_counts(batch_size, 1);
  std::set<Index, std::greater<>> sizes;
  for (const Index count : counts) {
    sizes.insert((batch_size + count - 1) / count);
    sizes.insert(batch_size / count);
  }
  sizes.erase(0);
  return {sizes.begin(), sizes.end()};
}

PredictedStep predict_step(const StepCosts& costs, const Interconnect& interconnect, Index ranks,
                           Index shards) {
  if (ranks < 1 || shards < ranks || shards % ranks != 0)
    fail("predict_step", "expected shards that the ranks can share evenly, got ", shards,
         " shards and ", ranks, " ranks");
  const double R = static_cast<double>(ranks), of_others = 1 - 1 / R;
  const auto [compute, sums] = largest_share(costs, ranks, shards);
  const double sent_bits = 2 * of_others * 8 * static_cast<double>(costs.gradient_bytes);
  return {.once = costs.once_ms,
          .compute = compute,
          .sums = sums + of_others * costs.sum_ms,
          .exchange = sent_bits / (interconnect.gbits * 1e6),  // bits per millisecond
          .latency = 2 * std::log2(R) * interconnect.latency_us / 1000};
}

std::vector<ScalingRow> predict_scaling(const StepCosts& costs, const Interconnect& interconnect,
                                        Index max_ranks, Index shards) {
  std::vector<ScalingRow> rows;
  for (const Index ranks : rank_counts(max_ranks, shards)) {
    const auto candidates =
        shards > 0 ? std::vector{shards} : shard_counts(costs.batch_size, ranks);
    ScalingRow row = best_row(costs, interconnect, ranks, candidates);
    const double alone = (rows.empty() ? row : rows.front()).step.total();
    row.speed_up = alone / row.step.total();
    row.efficiency = row.speed_up / static_cast<double>(ranks);
    rows.push_back(row);
  }
  return rows;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

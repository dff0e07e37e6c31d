#include "backflow/apps/train/shards.h"

#include <unordered_set>

#include "backflow/engine/parallel.h"
#include "backflow/engine/trace.h"

namespace backflow::inline BACKFLOW_PRECISION {

Shard shard_of(Index rows, Index shards, Index which) {
  if (shards < 1 || which < 0 || which >= shards)
    fail("shard_of", "shard ", which, " of ", shards, " shards does not exist");
  return {rows * which / shards, rows * (which + 1) / shards};
}

void ShardSum::add(ShardSum other) {
  if (other.gradients.empty()) return;
  if (gradients.empty()) {
    *this = std::move(other);
    return;
  }
  objective += other.objective;
  for (std::size_t i = 0; i < losses.size(); ++i) losses[i] += other.losses[i];
  for (std::size_t i = 0; i < gradients.size(); ++i) {
    Tensor g = std::move(other.gradients[i]);
    if (!g.defined()) continue;
    if (gradients[i].defined()) {
      add_into(gradients[i], g);
    } else {
      gradients[i] = std::move(g);
    }
  }
}

ShardTree::ShardTree(Index shards) {
  if (shards < 1) fail("shards", "at least 1 shard is needed, got ", shards);
  for (Index width = shards; width > 1; width = (width + 1) / 2) waiting_.emplace_back(width);
}

void ShardTree::add(Index place, ShardSum sum) {
  for (auto& round : waiting_) {
    const Index neighbour = place ^ 1;
    if (neighbour < std::ssize(round)) {
      std::unique_lock lock(mutex_);
      if (!round[neighbour]) {
        round[place] = std::move(sum);
        return;
      }
      ShardSum other = *std::exchange(round[neighbour], std::nullopt);
      lock.unlock();
      sum.add(std::move(other));  // whichever came first: a + b and b + a have the same bits
    }
    place /= 2;
  }
  total_ = std::move(sum);
}

ShardSum sum_over_shards(Index shards, ShardSchedule schedule,
                         const std::function<ShardSum(Index)>& walk) {
  ShardTree tree(shards);
  const auto walk_some = [&](Index shard, Index end) {
    for (; shard < end; ++shard) tree.add(shard, walk(shard));
  };
  if (schedule == ShardSchedule::in_turn || Tracer::active()) {
    walk_some(0, shards);
  } else {
    parallel_for(shards, 1, walk_some);
  }
  return tree.take_total();
}

GradientList::GradientList(const std::vector<NamedParameter>& parameters) {
  std::unordered_set<const Parameter*> met;
  for (const auto& [name, parameter] : parameters)
    if (met.insert(parameter).second) parameters_.push_back(parameter);
}

std::vector<Tensor> GradientList::taken_from(const Gradients& gradients) const {
  std::vector<Tensor> list(parameters_.size());
  for (std::size_t i = 0; i < list.size(); ++i)
    if (gradients.contains(*parameters_[i])) list[i] = gradients[*parameters_[i]];
  return list;
}

// An op that depends on all parameters, and whose rule gives these gradients: the engine then hands
// them out as what backward() found.
Gradients GradientList::as_gradients(std::vector<Tensor> list) const {
  std::vector<Var> found;
  std::vector<Tensor> gradients;
  for (std::size_t i = 0; i < list.size(); ++i) {
    if (!list[i].defined()) continue;
    found.push_back(*parameters_[i]);
    gradients.push_back(std::move(list[i]));
  }
  if (found.empty()) return {};
  const auto rule = [gradients = std::move(gradients)](std::span<const Tensor>) {
    return gradients;
  };
  return backward(override_gradient("shards", {Tensor(0)}, found, rule)[0]);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

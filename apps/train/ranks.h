// The processes that train one model together, on one machine or on several: ranks, as MPI calls
// them, numbered from 0. Each computes its share of the shards of a batch (shards.h), and then they
// add up what they have found. Their number is a power of two, and so is that of the shards: a
// rank's shards are then a subtree of the tree along which shards are added, and the ranks go on
// where the subtrees end. So the bits do not depend on how many ranks there are.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

class Ranks {
 public:
  virtual ~Ranks() = default;

  virtual Index count() const = 0;
  virtual Index rank() const = 0;  // this process's
  // Sends bytes to another rank and receives as many as it sends: it calls this at the same time.
  // All that is below is made of this.
  virtual void exchange(Index other, std::span<const std::byte> sent,
                        std::span<std::byte> received) = 0;
  // This process fails, and all others with it: they are stopped where they wait for it. Called
  // before it says why; where all fail for the same reason, the first rank has the time to say so
  // before the others do.
  virtual void abandon() {}

  bool are_several() const { return count() > 1; }
  bool is_first() const { return rank() == 0; }  // the one that speaks, and writes files
};

// This process alone.
class OneRank final : public Ranks {
 public:
  Index count() const override { return 1; }
  Index rank() const override { return 0; }
  void exchange(Index other, std::span<const std::byte> sent,
                std::span<std::byte> received) override;
};
Ranks& one_rank();

// Fail, in a line that says what would do, unless there are as many ranks as can do anything
// together, and can share so many shards.
void check_count(const Ranks& ranks);
void check_share(const Ranks& ranks, Index shards);

// Values of all ranks, each combined with those in the same place of the others. All get the same,
// provided that combine(a, b) has the bits of combine(b, a). For short lists: each rank sends
// log2(count) of them.
template <class T, class Combine>
void combine_over_ranks(Ranks& ranks, std::span<T> values, const Combine& combine) {
  std::vector<T> others(values.size());
  for (Index apart = 1; apart < ranks.count(); apart *= 2) {
    ranks.exchange(ranks.rank() ^ apart, std::as_bytes(values),
                   std::as_writable_bytes(std::span(others)));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = combine(values[i], others[i]);
  }
}

// The same for the sum of long lists, along the tree: neighbours are added, then pairs of
// neighbours, and so on. By recursive halving and doubling: in each round two ranks share out the
// part that both have, each adds up one half of it, and in the end they go back the same way and
// give each other what they have. So each sends less than twice the list, however many there are.
//
// Source: R. Thakur, R. Rabenseifner and W. Gropp, Optimization of collective communication
// operations in MPICH, 2005, section 4.5.
void add_over_ranks(Ranks& ranks, std::span<Real> values);

// The greatest of their values.
Index greatest_over_ranks(Ranks& ranks, Index value);

// What each rank has to say, by rank; all get the same.
std::vector<std::string> gather_over_ranks(Ranks& ranks, const std::string& text);

// Fails on every rank, in a line that names the first rank whose value is another than rank 0's,
// and both values.
void check_same_on_ranks(Ranks& ranks, const std::string& what, const std::string& value);

}  // namespace backflow::inline BACKFLOW_PRECISION

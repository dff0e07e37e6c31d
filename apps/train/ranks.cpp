#include "backflow/apps/train/ranks.h"

#include <algorithm>
#include <bit>

#include "backflow/apps/files/quote.h"
#include "backflow/engine/parallel.h"
#include "backflow/engine/tensor.h"

namespace backflow::inline BACKFLOW_PRECISION {

void OneRank::exchange(Index other, std::span<const std::byte>, std::span<std::byte>) {
  fail("ranks", "there is no rank ", other, ", this process is alone");
}

Ranks& one_rank() {
  static OneRank one;
  return one;
}

static bool is_power_of_two(Index n) { return std::has_single_bit(static_cast<std::uint64_t>(n)); }

void check_count(const Ranks& ranks) {
  if (!is_power_of_two(ranks.count()))
    fail("ranks", ranks.count(), " ranks cannot share a batch: expected a power of two, such as",
         " mpirun -n ", std::bit_floor(static_cast<std::uint64_t>(ranks.count())));
}

void check_share(const Ranks& ranks, Index shards) {
  const Index R = ranks.count();
  if (R == 1) return;
  if (!is_power_of_two(shards) || shards < R)
    fail("shards", R, " ranks cannot share ", shards, " shard", shards == 1 ? "" : "s",
         ": expected a power of two, at least the number of ranks, such as --set shards=", R);
}

namespace {

// A round of halving: the part of a list that this rank adds up, and that which the other does.
struct Halving {
  Index other;
  std::span<Real> mine, theirs;
};

}  // namespace

void add_over_ranks(Ranks& ranks, std::span<Real> values) {
  std::vector<Halving> rounds;
  Tensor received = Tensor::empty({std::ssize(values) / 2 + 1});
  std::span<Real> mine = values;
  for (Index apart = 1; apart < ranks.count(); apart *= 2) {
    const std::size_t middle = mine.size() / 2;
    const std::span<Real> lower = mine.first(middle), upper = mine.subspan(middle);
    const bool takes_lower = (ranks.rank() & apart) == 0;
    rounds.push_back(
        {ranks.rank() ^ apart, takes_lower ? lower : upper, takes_lower ? upper : lower});
    mine = rounds.back().mine;
    const std::span<Real> from(received.mutable_data(), mine.size());
    ranks.exchange(rounds.back().other, std::as_bytes(rounds.back().theirs),
                   std::as_writable_bytes(from));
    for_each_element(std::ssize(mine),
                     [to = mine.data(), from = from.data()](Index i) { to[i] += from[i]; });
  }
  for (; !rounds.empty(); rounds.pop_back())
    ranks.exchange(rounds.back().other, std::as_bytes(rounds.back().mine),
                   std::as_writable_bytes(rounds.back().theirs));
}

Index greatest_over_ranks(Ranks& ranks, Index value) {
  combine_over_ranks(ranks, std::span(&value, 1), [](Index a, Index b) { return std::max(a, b); });
  return value;
}

std::vector<std::string> gather_over_ranks(Ranks& ranks, const std::string& text) {
  std::vector<std::uint64_t> sizes(ranks.count());
  sizes[ranks.rank()] = text.size();
  combine_over_ranks(ranks, std::span(sizes), std::bit_or<>());
  std::vector<std::string> all(ranks.count());
  for (std::size_t i = 0; i < all.size(); ++i) all[i].resize(sizes[i]);
  all[ranks.rank()] = text;
  // Before each round a rank has the texts of a block of so many ranks, and its partner has those
  // of the neighbouring block.
  for (Index block = 1; block < ranks.count(); block *= 2) {
    const Index other = ranks.rank() ^ block;
    const Index mine = ranks.rank() / block * block, theirs = other / block * block;
    for (Index i = 0; i < block; ++i)
      ranks.exchange(other, std::as_bytes(std::span(all[mine + i])),
                     std::as_writable_bytes(std::span(all[theirs + i])));
  }
  return all;
}

void check_same_on_ranks(Ranks& ranks, const std::string& what, const std::string& value) {
  const std::vector<std::string> all = gather_over_ranks(ranks, value);
  for (std::size_t i = 1; i < all.size(); ++i)
    if (all[i] != all[0])
      fail("ranks", "the ", what, " of rank ", i, " is ", quote(all[i]), ", that of rank 0 ",
           quote(all[0]), ": expected the same on all ranks");
}

}  // namespace backflow::inline BACKFLOW_PRECISION

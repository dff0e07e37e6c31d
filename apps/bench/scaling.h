// How much faster a training step becomes on many machines: predicted from what it costs on one.
//
// R ranks, one to a machine, share the S shards of a batch of B images (apps/train/shards.h): each
// computes S / R of them, one after another. Then the ranks add up their gradients, of G bytes, by
// recursive halving and doubling (Thakur, Rabenseifner & Gropp, "Optimization of collective
// communication operations in MPICH", 2005). The rank with the most to do takes
//
//   step = once + compute + sums + exchange + latency
//
//   once      what every rank does by itself, whatever its share of the batch: factorizations,
//             power iterations, the norm of the gradient, the optimizer
//   compute   t(n1) + t(n2) + ..., where t(n) is the time of one shard of n images, forward and
//             backward; each n is B / S, rounded down or up
//   sums      a (s - 1 + 1 - 1/R), where a is the time to add one gradient to another: those of
//             the rank's s shards that are not empty, then a half, a quarter, ... of others' sums
//   exchange  2 (1 - 1/R) G / bandwidth: a rank sends a half, a quarter, ... of the gradient while
//             sums are made, and as much again while they are handed out
//   latency   2 log2(R) messages, each of which waits for the one before
//
// It is a best case: every rank has a link of its own, with the whole bandwidth in each direction
// at once, and no rank waits for one that is late. Left out is what takes little of a step, copying
// gradients to and from messages, and what is no part of it: images, validation, checkpoints.
#pragma once

#include <map>
#include <vector>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// What a step costs on one machine.
struct StepCosts {
  Index batch_size;
  std::map<Index, double> shard_ms;  // t(n) by n, for all of shard_sizes()
  double once_ms;
  double sum_ms;  // a
  Index gradient_bytes;
};

// A rank's link to the others.
struct Interconnect {
  double gbits;       // bandwidth, 1e9 bit/s in each direction
  double latency_us;  // of a message without contents
};

// In milliseconds, of the rank with the most to do.
struct PredictedStep {
  double once, compute, sums, exchange, latency;
  double total() const { return once + compute + sums + exchange + latency; }
};

struct ScalingRow {
  Index ranks, shards, empty_shards;
  PredictedStep step;
  double speed_up;    // against the first row, one rank
  double efficiency;  // speed_up / ranks
};

inline constexpr Index most_shards = 4096;  // as many as a configuration may have

// How many ranks can share a batch: 1, 2, 4, ... up to the most that are asked for. `shards` is how
// many shards the batch is cut into; 0: as many as are best.
std::vector<Index> rank_counts(Index max_ranks, Index shards = 0);

// How many shards they can share: a power of two from `ranks` to the batch size, which is the most
// that training cuts a batch into. More ranks than images have as many shards as ranks, of which
// some are empty.
std::vector<Index> shard_counts(Index batch_size, Index ranks);

// The sizes of all shards of one image or more that a batch may be cut into, from the largest down.
std::vector<Index> shard_sizes(Index batch_size, Index shards = 0);

// Fails when the shards are not shared evenly, or the costs lack the size of one.
PredictedStep predict_step(const StepCosts& costs, const Interconnect& interconnect, Index ranks,
                           Index shards);

// A row for each of rank_counts(), with `shards` or, for 0, with the number of shards for which the
// step is the shortest; the fewest of equals.
std::vector<ScalingRow> predict_scaling(const StepCosts& costs, const Interconnect& interconnect,
                                        Index max_ranks, Index shards = 0);

}  // namespace backflow::inline BACKFLOW_PRECISION

// How long a training step takes, beside the least time it could take here.
#pragma once

#include <vector>

#include "backflow/apps/model/model.h"
#include "backflow/apps/train/profile.h"
#include "backflow/apps/train/shard_schedule.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The products that a training step cannot do without: those of all sites of a model.
struct NecessaryProducts {
  double flop_per_example = 0, flop_per_step = 0;
  Shape x, w;  // of the largest, as Product has them

  double flop(Index batch) const {
    return static_cast<double>(batch) * flop_per_example + flop_per_step;
  }
};
NecessaryProducts necessary_products(const Config& config, const ImageShape& image);

struct BenchReport {
  std::vector<double> step_ms;  // sorted; noise, forward, backward and optimizer together
  double necessary_flop = 0;    // the products of a step, or convolutions, that must be computed
  double product_ms = 0;        // these at our own product's rate
  double square_gflops = 0;     // 1e9 flop/s of a product of two matrices of 1024 x 1024
  double optimizer_ms = 0;      // one pass of the optimizer; Adam: 28 bytes per float parameter
  Index peak_bytes = 0;         // of tensors alive at once in a step, parameters included
  Profile profile;              // of the timed steps, when asked for

  double median_ms() const { return step_ms[step_ms.size() / 2]; }
  double mean_ms() const;
  double floor_ms() const { return product_ms + optimizer_ms; }
  // In 1e9 flop per second: of the necessary products over the whole step, and of the products.
  double step_gflops() const { return necessary_flop / median_ms() / 1e6; }
  double product_gflops() const { return product_ms > 0 ? necessary_flop / product_ms / 1e6 : 0; }
};

// Trains on random images for `steps` steps, after some that are not counted. The floor is timed
// between the steps, so that both meet the same machine.
BenchReport bench(const Config& config, const ImageShape& image, Index steps, bool profiled = false,
                  ShardSchedule shard_schedule = ShardSchedule::in_turn);

// How long samples take by one of the model's inverses. The first call, which may factorize, is
// not counted: samples are drawn from weights that stay.
struct SamplingTime {
  Inverse inverse;
  Index count;
  double ms;  // of all `count` samples together: the median of several calls
};
std::vector<SamplingTime> bench_sampling(const Config& config, const ImageShape& image);

}  // namespace backflow::inline BACKFLOW_PRECISION

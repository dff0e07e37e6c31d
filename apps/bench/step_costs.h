// What a training step of an experiment costs here, taken apart as scaling.h needs it.
#pragma once

#include <memory>

#include "backflow/apps/bench/scaling.h"
#include "backflow/apps/bench/timescaling.h"
#include "backflow/apps/train/step.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Trains on random images, in batches that are one shard each. Of all times the least counts: other
// work on the machine can only add to them.
class StepTimer {
 public:
  // `sizes`, from the largest down: the images of the shards that are to be timed.
  StepTimer(const Config& config, const ImageShape& image, const std::vector<Index>& sizes);

  // Times every size, and the sum of two gradients. Several rounds are better than a long one: a
  // while in which the machine is busy with something else then spoils no size.
  void round(const TimingBudget& budget = {.least = 1});
  StepCosts costs() const { return costs_; }

 private:
  struct Parts {
    double once, shard;  // ms
  };
  double time_size(Index images, const TimingBudget& budget);
  Parts time_step(const Tensor& images);
  double time_sum();

  Config config_;
  Model model_;
  std::unique_ptr<Optimizer> optimizer_;
  Tensor pixels_;
  std::uint32_t steps_ = 0;
  StepCosts costs_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

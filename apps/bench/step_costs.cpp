#include "backflow/apps/bench/step_costs.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string_view>

#include "backflow/apps/bench/stopwatch.h"
#include "backflow/apps/data/purposes.h"
#include "backflow/engine/trace.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr double never = std::numeric_limits<double>::infinity();

// When the part of a training step that is done shard by shard is over: the norm of the gradient
// and the optimizer follow.
class EndOfShards : public Tracer {
 public:
  using Clock = std::chrono::steady_clock;

  void on_forward(const char*, std::span<const Tensor>) override {}
  void on_backward(const char*, std::span<const Tensor>) override {}
  void on_work(const char* what) override {
    if (std::string_view(what) == "end of backward")
      ms_ = std::chrono::duration<double, std::milli>(Clock::now() - start_).count();
  }
  double ms() const { return ms_; }  // since this tracer was made

 private:
  Clock::time_point start_ = Clock::now();
  double ms_ = 0;
};

Tensor random_pixels(const Config& config, const ImageShape& image, Index count) {
  const Tensor uniform =
      Random(config.seed).uniform({count, image.channels, image.height, image.width});
  return pointwise(uniform, [](Real u) { return std::floor(256 * u); });
}

// As large as the gradient of the model.
ShardSum zero_gradient(const Model& model) {
  ShardSum sum;
  for (const auto& [name, parameter] : model.density().parameters())
    sum.gradients.push_back(Tensor::zeros(parameter->shape()));
  return sum;
}

}  // namespace

StepTimer::StepTimer(const Config& config, const ImageShape& image, const std::vector<Index>& sizes)
    : config_(config),
      model_(config, image),
      optimizer_(make_optimizer(config, model_)),
      pixels_(random_pixels(config, image, sizes.front())) {
  config_.shards = 1;
  costs_.batch_size = config.batch_size;
  for (const Index size : sizes) costs_.shard_ms[size] = never;
  costs_.once_ms = costs_.sum_ms = never;
  costs_.gradient_bytes = model_.parameter_count() * static_cast<Index>(sizeof(Real));
}

void StepTimer::round(const TimingBudget& budget) {
  for (auto size = costs_.shard_ms.rbegin(); size != costs_.shard_ms.rend(); ++size) {
    size->second = std::min(size->second, time_size(size->first, budget));
    release_pooled_buffers();
  }
  costs_.sum_ms = std::min(costs_.sum_ms, time_sum());
}

double StepTimer::time_size(Index images, const TimingBudget& budget) {
  const Tensor some = slice(pixels_, 0, 0, images);
  double total = 0, least = never;
  const auto timed = [&] {
    const Parts parts = time_step(some);
    total += parts.once + parts.shard;
    return parts;
  };
  for (Index step = 0; step < budget.warm_up && total < budget.ms; ++step) timed();
  total = 0;
  for (Index step = 0; step < budget.most && (step < budget.least || total < budget.ms); ++step) {
    const Parts parts = timed();
    costs_.once_ms = std::min(costs_.once_ms, parts.once);
    least = std::min(least, parts.shard);
  }
  return least;
}

// What training_step() would do by itself before it walks any shard is done here, and timed apart.
StepTimer::Parts StepTimer::time_step(const Tensor& images) {
  constexpr double learning_rate = 1e-7;  // only the time counts: the model may stay as it is
  Pass pass;
  pass.mode = Mode::train;
  pass.noise = Random(config_.seed, purposes::dequantization, ++steps_);
  pass.context = model_.context().in_turn(images.size(0));
  const double before = milliseconds([&] {
    model_.flow().begin_step(images, pass);
    pass.step_begun = true;
    model_.flow().prepare(pass.mode, true);
  });
  double shard = 0;
  const double rest = milliseconds([&] {
    const EndOfShards end;
    training_step(model_, *optimizer_, config_, images, pass, learning_rate);
    shard = end.ms();
  });
  return {before + rest - shard, shard};
}

double StepTimer::time_sum() {
  constexpr int repetitions = 20;
  ShardSum sum = zero_gradient(model_);
  const ShardSum other = zero_gradient(model_);
  double least = never;
  for (int i = 0; i < repetitions; ++i)
    least = std::min(least, milliseconds([&] { sum.add(other); }));
  return least;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

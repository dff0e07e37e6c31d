#include "backflow/apps/bench/bench.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "backflow/apps/bench/stopwatch.h"
#include "backflow/apps/data/purposes.h"
#include "backflow/apps/model/architectures.h"
#include "backflow/apps/model/optimizers.h"
#include "backflow/apps/train/step.h"
#include "backflow/ops/conv.h"
#include "backflow/ops/matmul.h"
#include "backflow/ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// The layer with the most work: its value, the gradient of its input and that of its weights.
class LayerProducts {
 public:
  LayerProducts(const NecessaryProducts& largest, Index batch)
      : w_(Random(1).normal(largest.w)), x_(Random(2).normal(with_batch(largest.x, batch))) {}

  void run() {
    if (flop() == 0) return;
    if (w_.rank() == 2) {
      const Tensor z = matmul(x_, transposed(w_));
      matmul(z, w_);
      matmul(transposed(z), x_);
    } else {
      const Index K = w_.size(2), L = w_.size(3);
      const Conv2d padded{1, K / 2, L / 2, (K - 1) / 2, (L - 1) / 2};
      const Tensor z = conv2d(x_, w_, padded);
      conv2d_input_gradient(z, w_, x_.shape(), padded);
      conv2d_weight_gradient(z, x_, w_.shape(), padded);
    }
  }
  double flop() const {  // 0 for a model without products
    if (w_.rank() == 0) return 0;
    const Index places = w_.rank() == 2 ? x_.size(0) : x_.size() / x_.size(1);
    return 3 * 2.0 * places * w_.size();
  }

 private:
  static Shape with_batch(const Shape& example, Index batch) {
    Shape shape{batch};
    for (Index size : example) shape.push_back(size);
    return shape;
  }

  Tensor w_, x_;
};

// The configuration's optimizer on as many parameters as the model has, without the model; or on 4
// million of them, whose 64 MB and more are read from memory as those of a larger model are: more
// take longer in proportion, and would need as much memory as the model does.
class OptimizerPass : private Module {
 public:
  OptimizerPass(const Config& config, Index count)
      : part_(std::min<Index>(count, 1 << 22)),
        whole_over_part_(static_cast<double>(count) / static_cast<double>(part_)),
        parameter_(add_parameter("all", Tensor::zeros({part_}))),
        optimizer_(optimizers()[config.optimizer].make(parameters(), config)) {
    const Var root = override_gradient("gradient", Tensor(Real(0)), {parameter_},
                                       [this](const Tensor&) { return Tensor::full({part_}, 1); });
    gradients_ = backward(root);
  }
  double ms() {
    return whole_over_part_ * milliseconds([&] { optimizer_->step(gradients_, 1e-4); });
  }

 private:
  const Index part_;
  const double whole_over_part_;
  Parameter& parameter_;
  std::unique_ptr<Optimizer> optimizer_;
  Gradients gradients_;
};

double square_product_gflops() {
  constexpr Index n = 1024;
  const Tensor a = Random(1).normal({n, n}), b = Random(2).normal({n, n});
  double best = std::numeric_limits<double>::infinity();
  for (int run = 0; run < 5; ++run) best = std::min(best, milliseconds([&] { matmul(a, b); }));
  return 2.0 * n * n * n / best / 1e6;
}

// The work is repeated for up to half a second.
template <class Work>
double median_ms_of(const Work& work) {
  std::vector<double> ms;
  double total = 0;
  do {
    ms.push_back(milliseconds(work));
    total += ms.back();
  } while (total < 500 && ms.size() < 50);
  return median(std::move(ms));
}

// The flop of one product with one example.
double flop_of(const Shape& x, const Shape& w) {
  return 2.0 * w.size() * (w.rank() == 4 ? x[1] * x[2] : 1);
}

}  // namespace

NecessaryProducts necessary_products(const Config& config, const ImageShape& image) {
  NecessaryProducts all;
  double largest = 0;
  for (const Part& part : plan_of(config, image).parts)
    for (const auto& [times, x, w, flop_per_step, share] : part.products(part.site)) {
      const double flop = share * flop_of(x, w);
      all.flop_per_example += times * flop;
      all.flop_per_step += flop_per_step;
      if (flop > largest) largest = flop, all.x = x, all.w = w;
    }
  return all;
}

double BenchReport::mean_ms() const {
  return std::accumulate(step_ms.begin(), step_ms.end(), 0.0) / static_cast<double>(step_ms.size());
}

BenchReport bench(const Config& config, const ImageShape& image, Index steps, bool profiled,
                  ShardSchedule shard_schedule) {
  constexpr Index uncounted = 3;
  constexpr double learning_rate = 1e-7;  // only the time counts: the model may stay as it is
  Model model(config, image);
  const auto optimizer = make_optimizer(config, model);
  const Tensor images =
      Random(config.seed).uniform({config.batch_size, image.channels, image.height, image.width});
  const Tensor pixels = pointwise(images, [](Real u) { return std::floor(256 * u); });
  Pass pass;
  pass.context = model.context().in_turn(config.batch_size);
  const NecessaryProducts necessary = necessary_products(config, image);
  const Index live = memory_use().live_bytes;
  LayerProducts products(necessary, std::min<Index>(config.batch_size, 100));
  OptimizerPass optimizer_pass(config, model.parameter_count());
  const Index beside = memory_use().live_bytes - live;  // what only the floor needs

  BenchReport report;
  double products_ms = std::numeric_limits<double>::infinity(), pass_ms = products_ms;
  for (Index step = -uncounted; step < steps; ++step) {
    pass.noise =
        Random(config.seed, purposes::dequantization, static_cast<std::uint32_t>(step + uncounted));
    if (step == 0) reset_peak_bytes();
    const double ms = milliseconds([&] {
      std::optional<Profiler> profiler;
      if (profiled && step >= 0) profiler.emplace(report.profile);
      training_step(model, *optimizer, config, pixels, pass, learning_rate, shard_schedule);
      trace_work("end of the step");
    });
    if (step >= 0) report.step_ms.push_back(ms);
    products_ms = std::min(products_ms, milliseconds([&] { products.run(); }));
    pass_ms = std::min(pass_ms, optimizer_pass.ms());
  }
  report.peak_bytes = memory_use().peak_bytes - beside;
  std::sort(report.step_ms.begin(), report.step_ms.end());
  report.necessary_flop = necessary.flop(config.batch_size);
  if (report.necessary_flop > 0)
    report.product_ms = report.necessary_flop * products_ms / products.flop();
  report.optimizer_ms = pass_ms;
  report.square_gflops = square_product_gflops();
  return report;
}

std::vector<SamplingTime> bench_sampling(const Config& config, const ImageShape& image) {
  const Model model(config, image);
  const Tensor pixels =
      Tensor::full({config.batch_size, image.channels, image.height, image.width}, 128);
  Pass first;
  first.mode = Mode::train;
  first.noise = Random(config.seed, purposes::dequantization);
  first.context = model.context().in_turn(config.batch_size);
  {
    const NoGrad no_graph;
    model.density().objective(pixels, first);  // some layers learn their scale from the first batch
  }
  std::vector<SamplingTime> times;
  for (const Inverse inverse : {Inverse::learned, Inverse::exact}) {
    if (inverse == Inverse::learned && !model.has_learned_inverse()) continue;
    for (const Index count : {1, 100}) {
      Pass pass;
      pass.inverse = inverse;
      pass.context = model.context().in_turn(count);
      const auto draw = [&] {
        model.density().sample(count, Random(config.seed, purposes::sampling), 0.5, pass);
      };
      draw();
      times.push_back({inverse, count, median_ms_of(draw)});
    }
  }
  return times;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "apps/bench.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "apps/step.h"
#include "ops/matmul.h"
#include "ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

template <class Work>
double milliseconds(Work work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start)
      .count();
}

// Like a layer of the model: the product of its value, that of the gradient of its input and that
// of its weights. Of the largest product a step needs, batch and pixels being columns alike.
class LayerProducts {
 public:
  LayerProducts(const NecessaryProducts& shape, Index batch)
      : random_(1),
        W_(random_.normal({shape.rows, shape.inner})),
        X_(random_.normal({batch * shape.columns, shape.inner})),
        Z_(Tensor::empty({batch * shape.columns, shape.rows})),
        dX_(Tensor::empty(X_.shape())),
        dW_(Tensor::empty(W_.shape())) {}

  void run() {
    matmul_into(Z_, 0, X_, transposed(W_));
    matmul_into(dX_, 0, Z_, W_);
    matmul_into(dW_, 0, transposed(Z_), X_);
  }
  double flop() const { return 3 * 2.0 * X_.size() * W_.size(0); }

 private:
  Random random_;
  Tensor W_, X_, Z_, dX_, dW_;
};

// Adam on as many parameters as the model has, without the model.
class OptimizerPass : private Module {
 public:
  explicit OptimizerPass(Index size)
      : parameter_(add_parameter("all", Tensor::zeros({size}))), adam_(parameters()) {
    const Var root = override_gradient("gradient", Tensor(Real(0)), {parameter_},
                                       [size](const Tensor&) { return Tensor::full({size}, 1); });
    gradients_ = backward(root);
  }
  void run() { adam_.step(gradients_, 1e-4); }

 private:
  Parameter& parameter_;
  Adam adam_;
  Gradients gradients_;
};

}  // namespace

BenchReport bench(const Config& config, const ImageShape& image, Index steps) {
  constexpr Index uncounted = 3;
  Model model(config, image);
  const auto optimizer = make_optimizer(config, model);
  const Tensor images =
      Random(config.seed).uniform({config.batch_size, image.channels, image.height, image.width});
  const Tensor pixels = pointwise(images, [](Real u) { return std::floor(256 * u); });
  Pass pass;
  const NecessaryProducts& necessary = model.necessary_products();
  const Index live = memory_use().live_bytes, per_image = necessary.columns * necessary.inner;
  LayerProducts products(necessary, std::clamp<Index>(4'000'000 / per_image, 1, config.batch_size));
  OptimizerPass optimizer_pass(model.parameter_count());
  const Index beside = memory_use().live_bytes - live;  // what only the floor needs

  BenchReport report;
  double products_ms = std::numeric_limits<double>::infinity(), pass_ms = products_ms;
  for (Index step = -uncounted; step < steps; ++step) {
    pass.noise =
        Random(config.seed, Purpose::dequantization, static_cast<std::uint32_t>(step + uncounted));
    if (step == 0) reset_peak_bytes();
    const double ms =
        milliseconds([&] { training_step(model, *optimizer, config, pixels, pass, config.lr); });
    if (step >= 0) report.step_ms.push_back(ms);
    products_ms = std::min(products_ms, milliseconds([&] { products.run(); }));
    pass_ms = std::min(pass_ms, milliseconds([&] { optimizer_pass.run(); }));
  }
  std::sort(report.step_ms.begin(), report.step_ms.end());
  report.product_ms = necessary.flop(config.batch_size) * products_ms / products.flop();
  report.optimizer_ms = pass_ms;
  report.peak_bytes = memory_use().peak_bytes - beside;
  return report;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

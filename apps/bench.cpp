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

// The three shapes of product that a fully connected layer needs: B x D x D for the value and the
// gradient of its input, D x B x D for that of its weights.
class LayerProducts {
 public:
  LayerProducts(Index B, Index D)
      : random_(1),
        X_(random_.normal({B, D})),
        W_(random_.normal({D, D})),
        Z_(Tensor::empty({B, D})),
        dX_(Tensor::empty({B, D})),
        dW_(Tensor::empty({D, D})) {}

  void run() {
    matmul_into(Z_, 0, X_, transposed(W_));
    matmul_into(dX_, 0, Z_, W_);
    matmul_into(dW_, 0, transposed(Z_), X_);
  }
  double flop() const { return 3 * 2.0 * X_.size() * W_.size(0); }

 private:
  Random random_;
  Tensor X_, W_, Z_, dX_, dW_;
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
  LayerProducts products(config.batch_size, image.size());
  OptimizerPass optimizer_pass(model.parameter_count());

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
  report.product_ms = model.necessary_flop(config.batch_size) * products_ms / products.flop();
  report.optimizer_ms = pass_ms;
  report.peak_bytes = memory_use().peak_bytes;
  return report;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

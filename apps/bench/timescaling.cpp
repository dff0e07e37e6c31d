#include "backflow/apps/bench/timescaling.h"

#include <cmath>

#include "backflow/apps/bench/stopwatch.h"
#include "backflow/engine/optimizer.h"
#include "backflow/flows/linear/self_normalizing.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct Weights {
  Tensor W, R, b;
};

// W = I + noise, and the inverse of that but for the square of the noise.
Weights initial_weights(LayerKind kind, Index D) {
  constexpr double spread = 0.01;
  const bool fc = kind == LayerKind::fc;
  const Shape shape = fc ? Shape{D, D} : Shape{1, 1, 3, 3};
  const double fan = fc ? static_cast<double>(D) : 9;
  const Tensor noise = Random(1).normal(shape) * (spread / std::sqrt(fan));
  const Tensor identity =
      fc ? Tensor::identity(D) : Tensor({1, 1, 3, 3}, {0, 0, 0, 0, 1, 0, 0, 0, 0});
  return {identity + noise, identity - noise, Tensor::zeros({fc ? D : 1})};
}

std::unique_ptr<Flow> make_layer(LayerKind kind, Method method, Index D) {
  auto [W, R, b] = initial_weights(kind, D);
  if (method == Method::exact) return std::make_unique<Exact>(std::move(W), std::move(b));
  return std::make_unique<SelfNormalizing>(std::move(W), std::move(R), std::move(b));
}

Tensor random_input(LayerKind kind, const ImageShape& image, Index batch_size) {
  const Tensor x = Random(2).normal({batch_size, image.size()});
  return kind == LayerKind::fc ? x : x.reshape({batch_size, 1, image.height, image.width});
}

// One layer, its density and its optimizer.
class Trainer {
 public:
  Trainer(LayerKind kind, Method method, const ImageShape& image, Index batch_size)
      : layer_(make_layer(kind, method, image.size())),
        density_(*layer_, {image.size()}),
        adam_(layer_->parameters()),
        x_(Var::leaf(random_input(kind, image, batch_size))) {}

  void step() {
    constexpr double learning_rate = 1e-7;  // only the time counts: the layer may stay as it is
    Pass pass;
    pass.mode = Mode::train;
    Var loss = -mean(density_.objective(x_, pass));
    for (const AuxiliaryLoss& auxiliary : pass.losses)
      loss = loss + auxiliary.weight * auxiliary.value;
    adam_.step(backward(loss), learning_rate);
  }

 private:
  std::unique_ptr<Flow> layer_;
  Density density_;
  Adam adam_;
  Var x_;  // a leaf: a layer in a flow passes a gradient on to the one before it
};

Index first_in_fit(const Curve& curve) {
  const auto counts = [](const TimedPoint& point) { return point.image.size() >= fit_from; };
  const auto first = std::find_if(curve.begin(), curve.end(), counts);
  return curve.end() - first >= 3 ? first - curve.begin() : 0;
}

}  // namespace

const char* name_of(LayerKind kind) { return kind == LayerKind::fc ? "fc" : "conv"; }

const char* name_of(Method method) {
  return method == Method::exact ? "exact" : "self_normalizing";
}

std::vector<ImageShape> timescaling_images(Index max_dim) {
  constexpr Index sizes[][2] = {{8, 4},   {16, 4},  {20, 5},   {24, 6},  {28, 7},
                                {32, 8},  {40, 10}, {44, 12},  {56, 14}, {64, 16},
                                {76, 19}, {92, 23}, {108, 27}, {127, 32}};
  std::vector<ImageShape> images;
  for (const auto& [height, width] : sizes)
    if (height * width <= max_dim) images.push_back({1, height, width});
  return images;
}

double TimedPoint::median() const { return backflow::median(ms); }

TimedPoint time_layer(LayerKind kind, Method method, const ImageShape& image, Index batch_size,
                      const TimingBudget& budget) {
  Trainer trainer(kind, method, image, batch_size);
  const auto timed_step = [&] { return milliseconds([&] { trainer.step(); }); };
  double total = 0;
  for (Index step = 0; step < budget.warm_up && total < budget.ms; ++step) total += timed_step();

  TimedPoint point{kind, method, image, {}};
  std::vector<double>& ms = point.ms;
  total = 0;
  while (std::ssize(ms) < budget.most && (std::ssize(ms) < budget.least || total < budget.ms)) {
    ms.push_back(timed_step());
    total += ms.back();
  }
  return point;
}

PowerLaw fit_power_law(const Curve& curve) {
  const Index first = first_in_fit(curve);
  const double n = static_cast<double>(std::ssize(curve) - first);
  double sum_x = 0, sum_y = 0, sum_xx = 0, sum_xy = 0;
  for (auto point = curve.begin() + first; point != curve.end(); ++point) {
    const double x = std::log(point->D()), y = std::log(point->least());
    sum_x += x, sum_y += y, sum_xx += x * x, sum_xy += x * y;
  }
  return {(sum_xy - sum_x * sum_y / n) / (sum_xx - sum_x * sum_x / n), curve[first].image.size()};
}

Crossover find_crossover(const Curve& exact, const Curve& self_normalizing) {
  const auto lead = [&](std::size_t i) {  // of the self-normalizing step, as a logarithm
    return std::log(exact[i].least() / self_normalizing[i].least());
  };
  Crossover found{{}, lead(exact.size() - 1) > 0 ? Method::self_normalizing : Method::exact};
  for (std::size_t i = exact.size() - 1; i > 0 && !found.D; --i) {
    const double before = lead(i - 1), after = lead(i);
    if ((before > 0) == (after > 0)) continue;
    const double way = before / (before - after);
    found.D = exact[i - 1].D() * std::pow(exact[i].D() / exact[i - 1].D(), way);
  }
  return found;
}

double lu_price(const TimedPoint& exact, const TimedPoint& self_normalizing, Index batch_size) {
  const double products = self_normalizing.least() / 2, lu = exact.least() - products;
  return (lu / (2 * exact.D())) / (products / (6.0 * static_cast<double>(batch_size)));
}

double fc_crossover_at(double price, Index batch_size) {
  return 3 * static_cast<double>(batch_size) / price;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/apps/train/step.h"

#include <cmath>
#include <numbers>
#include <numeric>

#include "backflow/apps/data/purposes.h"
#include "backflow/apps/model/optimizers.h"
#include "backflow/engine/trace.h"
#include "backflow/ops/finite.h"
#include "backflow/ops/global_norm.h"
#include "backflow/ops/pointwise.h"
#include "backflow/ops/reduce.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

struct Losses {
  Var objective, reconstruction, total;
};

Losses losses_of(const Model& model, const Tensor& images, Pass& pass) {
  Losses losses;
  losses.objective = -mean(model.density().objective(images, pass));
  losses.reconstruction = Var(Real(0));
  losses.total = losses.objective;
  for (const auto& [value, weight, adapt] : pass.losses) {
    losses.reconstruction = losses.reconstruction + value.detach();
    losses.total = losses.total + weight * value;
  }
  return losses;
}

// Runs the failed step once more and watches every value.
[[noreturn]] void name_culprit(const Model& model, const Tensor& images, Pass pass) {
  FirstNonFinite watch;
  pass.losses.clear();
  backward(losses_of(model, images, pass).total);
  if (watch.found()) throw Diverged(*watch.found() + " is not finite");
  throw Diverged("the gradient's norm is not finite");
}

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const Config& config, const Model& model) {
  return optimizers()[config.optimizer].make(model.density().parameters(), config);
}

StepResult training_step(const Model& model, Optimizer& optimizer, const Config& config,
                         const Tensor& images, Pass pass, double learning_rate) {
  pass.mode = Mode::train;
  const Losses losses = losses_of(model, images, pass);
  const StepResult result{losses.objective.item(), losses.reconstruction.item()};
  const Gradients gradients = backward(losses.total);
  trace_work("end of backward");
  const double norm = global_norm(gradients, model.density().parameters());
  trace_work("norm of the gradient");
  if (!std::isfinite(result.objective + result.reconstruction + norm))
    name_culprit(model, images, std::move(pass));
  for (const auto& [value, weight, adapt] : pass.losses)
    if (adapt) adapt(value.item());
  const bool clip = config.max_grad_norm > 0 && norm > config.max_grad_norm;
  optimizer.step(gradients, learning_rate, clip ? config.max_grad_norm / norm : 1);
  trace_work("optimizer");
  return result;
}

// Epoch 0 of the noise is for evaluation, training counts from 1; splits do not share numbers.
static Pass evaluation_pass(Split split, Noise noise, Index first, Index count) {
  Pass pass;
  if (noise == Noise::uniform) pass.noise = Random(0, purposes::dequantization);
  pass.probes = Random(0, purposes::probing);
  pass.examples.resize(count);
  const std::uint32_t offset = static_cast<std::uint32_t>(split) << 30;
  std::iota(pass.examples.begin(), pass.examples.end(), offset + static_cast<std::uint32_t>(first));
  return pass;
}

static Tensor log_prob(const Model& model, const Tensor& images, const Pass& pass) try {
  return model.density().log_prob(images, pass);
} catch (const Error& error) {  // a singular matrix
  throw Diverged(error.what());
}

Likelihood evaluate(const Model& model, const ImageSet& images, Split split, Noise noise,
                    Index limit) {
  constexpr Index batch = 100;
  Likelihood result;
  result.images = limit > 0 ? std::min(limit, images.count()) : images.count();
  double sum = 0, sum_of_squares = 0;
  std::vector<std::uint32_t> rows;
  for (Index first = 0; first < result.images; first += batch) {
    const Index count = std::min(batch, result.images - first);
    rows.resize(count);
    std::iota(rows.begin(), rows.end(), static_cast<std::uint32_t>(first));
    Pass pass = evaluation_pass(split, noise, first, count);
    pass.context = model.context().of_images(images, rows);
    const Tensor values = log_prob(model, to_tensor(images, rows), pass);
    for (Index i = 0; i < count; ++i) {
      const double value = values[i];
      if (result.first.size() < 5) result.first.push_back(value);
      sum += value;
      sum_of_squares += value * value;
    }
  }
  const double n = static_cast<double>(result.images);
  result.nll = -sum / n;
  const double variance = n > 1 ? (sum_of_squares - sum * sum / n) / (n - 1) : 0;
  result.standard_error = std::sqrt(std::max(variance, 0.0) / n);
  return result;
}

double bits_per_dim(double nats, const ImageShape& image) {
  return nats / (static_cast<double>(image.size()) * std::numbers::ln2);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/apps/train/step.h"

#include <algorithm>
#include <bit>
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
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// The rows of a shard, with their noise and context.
struct ShardOfBatch {
  Tensor images;
  Pass pass;
  double weight;  // its share of the batch

  ShardOfBatch(const Tensor& batch, const Pass& whole, const Shard& rows)
      : images(batch), pass(whole), weight(1) {
    const Index B = batch.size(0);
    if (rows.count() == B) return;
    weight = static_cast<double>(rows.count()) / static_cast<double>(B);
    images = slice(batch, 0, rows.first, rows.end);
    if (pass.examples.empty()) {  // as they are counted in the batch
      pass.examples.resize(rows.count());
      std::iota(pass.examples.begin(), pass.examples.end(), static_cast<std::uint32_t>(rows.first));
    } else {
      pass.examples = {whole.examples.begin() + rows.first, whole.examples.begin() + rows.end};
    }
    if (pass.context.value().defined()) pass.context = slice(pass.context, 0, rows.first, rows.end);
  }
};

struct Losses {
  Var objective, total;
};

Losses losses_of(const Model& model, ShardOfBatch& shard) {
  Losses losses;
  losses.objective = -mean(model.density().objective(shard.images, shard.pass));
  losses.total = losses.objective;
  for (const auto& [value, weight, adapt] : shard.pass.losses)
    losses.total = losses.total + weight * value;
  return losses;
}

// The losses are means over a shard's images: their shares make of them the mean over the batch,
// and of the gradients that of the mean.
Gradients backward_of(const Losses& losses, const ShardOfBatch& shard) {
  return backward(losses.total,
                  Tensor::full(losses.total.shape(), static_cast<Real>(shard.weight)));
}

// Runs the failed step once more, one shard after another, and watches every value.
[[noreturn]] void name_culprit(const Model& model, Index shards, const Tensor& images,
                               const Pass& pass) {
  FirstNonFinite watch;
  for (Index i = 0; i < shards && !watch.found(); ++i) {
    const Shard rows = shard_of(images.size(0), shards, i);
    if (rows.count() == 0) continue;
    ShardOfBatch shard(images, pass, rows);
    backward_of(losses_of(model, shard), shard);
  }
  if (watch.found()) throw Diverged(*watch.found() + " is not finite");
  throw Diverged("the gradient's norm is not finite");
}

}  // namespace

std::unique_ptr<Optimizer> make_optimizer(const Config& config, const Model& model) {
  return optimizers()[config.optimizer].make(model.density().parameters(), config);
}

// Makes the changes of a step that are no sum over examples, for which the whole batch is needed.
static void begin_step(const Model& model, const Tensor& images, Pass& pass) {
  const Index B = images.size(0);
  check_context("training_step", model.flow().context(), pass, B);
  if (!pass.examples.empty() && std::ssize(pass.examples) != B)
    fail("training_step", "the pass names ", pass.examples.size(), " examples, the shape is ",
         images.shape());
  if (!pass.step_begun) model.flow().begin_step(images, pass);
  pass.step_begun = true;
}

// What one shard adds to the step. `adapt` gets what is to be called after it, one for each loss.
static ShardSum walk(const Model& model, const GradientList& parameters, ShardOfBatch shard,
                     std::vector<std::function<void(double)>>* adapt) {
  const Losses losses = losses_of(model, shard);
  ShardSum sum;
  sum.objective = shard.weight * double{losses.objective.item()};
  for (const AuxiliaryLoss& loss : shard.pass.losses) {
    sum.losses.push_back(shard.weight * double{loss.value.item()});
    if (adapt) adapt->push_back(loss.adapt);
  }
  sum.gradients = parameters.taken_from(backward_of(losses, shard));
  return sum;
}

// The first of these shards that is not empty; or the end.
static Index first_with_rows(Index rows, Index all, const Shard& shards) {
  Index i = shards.first;
  while (i < shards.end && shard_of(rows, all, i).count() == 0) ++i;
  return i;
}

// The same functions as walk() finds, for a rank whose shards are all empty: from the first image.
static std::vector<std::function<void(double)>> adapt_of_batch(const Model& model,
                                                               const Tensor& images,
                                                               const Pass& pass) {
  ShardOfBatch image(images, pass, {0, 1});
  losses_of(model, image);
  std::vector<std::function<void(double)>> adapt;
  for (const AuxiliaryLoss& loss : image.pass.losses) adapt.push_back(loss.adapt);
  return adapt;
}

StepResult training_step(const Model& model, Optimizer& optimizer, const Config& config,
                         const Tensor& images, Pass pass, double learning_rate,
                         ShardSchedule schedule, Ranks& ranks) {
  pass.mode = Mode::train;
  pass.losses.clear();
  begin_step(model, images, pass);
  if (config.shards > 1 && schedule == ShardSchedule::side_by_side)
    model.flow().prepare(pass.mode, true);  // by all threads, before each is on its own
  const GradientList parameters(model.density().parameters());
  std::vector<std::function<void(double)>> adapt;
  const Shard shards = shards_of_rank(ranks, config.shards);
  const Index first = first_with_rows(images.size(0), config.shards, shards);
  ShardSum sum = sum_over_shards(shards, schedule, [&](Index i) -> ShardSum {
    const Shard rows = shard_of(images.size(0), config.shards, i);
    if (rows.count() == 0) return {};
    return walk(model, parameters, {images, pass, rows}, i == first ? &adapt : nullptr);
  });
  if (ranks.are_several()) {
    trace_work("end of backward");
    parameters.add_over_ranks(ranks, sum);
    trace_work("sum over ranks");
  }
  const Gradients gradients = parameters.as_gradients(std::move(sum.gradients));
  trace_work("end of backward");
  Real reconstruction = 0;
  for (const double loss : sum.losses) reconstruction += static_cast<Real>(loss);
  const StepResult result{sum.objective, reconstruction};
  const double norm = global_norm(gradients, model.density().parameters());
  trace_work("norm of the gradient");
  if (!std::isfinite(result.objective + result.reconstruction + norm))
    name_culprit(model, config.shards, images, pass);
  if (adapt.size() < sum.losses.size()) adapt = adapt_of_batch(model, images, pass);
  for (std::size_t i = 0; i < adapt.size(); ++i)
    if (adapt[i]) adapt[i](sum.losses[i]);
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

// Of each image what the rank that has it has found, and the bits of nothing on all others.
static void share_values(Ranks& ranks, std::vector<double>& values) {
  std::vector<std::uint64_t> bits(values.size());
  std::transform(values.begin(), values.end(), bits.begin(),
                 [](double value) { return std::bit_cast<std::uint64_t>(value); });
  combine_over_ranks(ranks, std::span(bits), std::bit_or<>());
  std::transform(bits.begin(), bits.end(), values.begin(),
                 [](std::uint64_t value) { return std::bit_cast<double>(value); });
}

static Likelihood summary(const std::vector<double>& log_probs) {
  double sum = 0, sum_of_squares = 0;
  for (const double value : log_probs) {
    sum += value;
    sum_of_squares += value * value;
  }
  Likelihood result;
  result.images = std::ssize(log_probs);
  const double n = static_cast<double>(result.images);
  result.nll = -sum / n;
  const double variance = n > 1 ? (sum_of_squares - sum * sum / n) / (n - 1) : 0;
  result.standard_error = std::sqrt(std::max(variance, 0.0) / n);
  result.first = {log_probs.begin(), log_probs.begin() + std::min<Index>(5, result.images)};
  return result;
}

Likelihood evaluate(const Model& model, const ImageSet& images, Split split, Noise noise,
                    Index limit, Ranks& ranks, const EvaluationWatch& watch) {
  constexpr Index batch = 100;
  const Index count = limit > 0 ? std::min(limit, images.count()) : images.count();
  std::vector<double> log_probs(count, 0.);
  std::vector<std::uint32_t> rows;
  const Index round = ranks.count() * batch;  // a batch for each rank
  for (Index done = 0; done < count; done += round) {
    if (const Index first = done + ranks.rank() * batch; first < count) {
      rows.resize(std::min(batch, count - first));
      std::iota(rows.begin(), rows.end(), static_cast<std::uint32_t>(first));
      Pass pass = evaluation_pass(split, noise, first, std::ssize(rows));
      pass.context = model.context().of_images(images, rows);
      const Tensor values = log_prob(model, to_tensor(images, rows), pass);
      std::copy_n(values.data(), values.size(), log_probs.begin() + first);
    }
    if (watch) watch(std::min(done + round, count), count);
  }
  share_values(ranks, log_probs);
  return summary(log_probs);
}

double bits_per_dim(double nats, const ImageShape& image) {
  return nats / (static_cast<double>(image.size()) * std::numbers::ln2);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

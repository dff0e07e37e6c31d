#include "apps/commands.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "apps/bench.h"
#include "apps/checkpoint.h"
#include "apps/io/datasets.h"
#include "engine/parallel.h"

namespace backflow::inline BACKFLOW_PRECISION {

using Json = nlohmann::ordered_json;

static long long number(Index n) { return static_cast<long long>(n); }
static void print(const Json& json) { std::printf("%s\n", json.dump(2).c_str()); }

void list_experiments() {
  std::printf("%-28s %-44s %10s  %s\n", "experiment", "model", "parameters", "paper: test NLL");
  for (const Experiment& experiment : experiments()) {
    const Model model(experiment.config, {});
    std::printf("%-28s %-44s %10lld  %s\n", experiment.config.experiment.c_str(),
                experiment.model.c_str(), number(model.parameter_count()),
                experiment.paper.c_str());
  }
}

// ---- Checkpoints ----------------------------------------------------------------------------

// The model as its checkpoint has it: configuration, image shape, parameters.
static Model load_model(const Checkpoint& checkpoint, const Experiment& experiment) {
  Model model(config_of(checkpoint, experiment), image_of(checkpoint));
  restore(model, checkpoint);
  return model;
}

static ImageSet load_split(const std::filesystem::path& data, Split split) {
  ImageSplits all = load_mnist(data);
  if (split == Split::train) return std::move(all.train);
  if (split == Split::validation) return std::move(all.validation);
  return std::move(all.test);
}

static const char* name_of(Split split) {
  return split == Split::train ? "train" : split == Split::validation ? "validation" : "test";
}

static Likelihood exact_likelihood(const Model& model, const ImageSet& images,
                                   const EvaluateOptions& options) try {
  const Likelihood result = evaluate(model, images, options.split, options.noise, options.limit);
  if (!std::isfinite(result.nll)) throw Error("it is not finite");
  return result;
} catch (const Error& error) {
  fail(options.checkpoint.string(), "no exact NLL: ", error.what(), "; has the model diverged?");
}

void evaluate_checkpoint(const EvaluateOptions& options) {
  const Experiment& experiment = find_experiment(options.experiment);
  const Checkpoint checkpoint = load_checkpoint(options.checkpoint, options.experiment);
  const Model model = load_model(checkpoint, experiment);
  const ImageSet images = load_split(options.data, options.split);
  const ImageShape& expected = model.image();
  if (images.channels != expected.channels || images.height != expected.height ||
      images.width != expected.width)
    fail(options.data.string(), "the images are ", images.channels, " x ", images.height, " x ",
         images.width, ", this checkpoint's model expects ", expected.channels, " x ",
         expected.height, " x ", expected.width);
  const Likelihood result = exact_likelihood(model, images, options);
  const double bits = bits_per_dim(result.nll, model.image());
  const char* noise = options.noise == Noise::uniform ? "uniform" : "midpoint";
  if (options.json)
    return print({{"experiment", options.experiment},
                  {"split", name_of(options.split)},
                  {"images", result.images},
                  {"noise", noise},
                  {"nll_nats", result.nll},
                  {"standard_error", result.standard_error},
                  {"bits_per_dim", bits},
                  {"log_prob_first", result.first}});
  std::printf("%s on %lld %s images, %s noise\n", options.experiment.c_str(), number(result.images),
              name_of(options.split), noise);
  std::printf("exact NLL: %.2f +- %.2f nats per image, %.4f bits/dim\n", result.nll,
              result.standard_error, bits);
  std::printf("paper, converged: %s on test\n", experiment.paper.c_str());
}

void sample_checkpoint(const SampleCommand& command) {
  const Experiment& experiment = find_experiment(command.experiment);
  const Model model =
      load_model(load_checkpoint(command.checkpoint, command.experiment), experiment);
  if (command.inverse == Inverse::learned && !model.has_learned_inverse())
    fail("--inverse", command.experiment, " has no learned inverse; use exact");
  SampleOptions options = command.samples;
  options.inverse = command.inverse.value_or(Inverse::learned);
  save_samples(command.out, model, options);
  const bool learned = options.inverse == Inverse::learned && model.has_learned_inverse();
  std::printf("%s: %lld samples by the %s inverse, temperature %g\n", command.out.c_str(),
              number(options.count), learned ? "learned" : "exact", options.temperature);
}

// ---- Speed ------------------------------------------------------------------------------------

void bench_experiment(const BenchOptions& options) {
  Config config = find_experiment(options.experiment).config;
  if (options.batch_size > 0) config.batch_size = options.batch_size;
  const BenchReport report = bench(config, {}, options.steps);
  const auto& ms = report.step_ms;
  if (options.json)
    return print(
        {{"experiment", options.experiment},
         {"threads", threads()},
         {"batch_size", config.batch_size},
         {"steps", options.steps},
         {"ms_per_step", {{"min", ms.front()}, {"median", report.median_ms()}, {"max", ms.back()}}},
         {"floor_ms", report.floor_ms()},
         {"peak_bytes", report.peak_bytes}});
  std::printf("%s, %d threads, batches of %lld, %lld steps\n", options.experiment.c_str(),
              threads(), number(config.batch_size), number(options.steps));
  std::printf("ms per step: median %.2f, min %.2f, max %.2f\n", report.median_ms(), ms.front(),
              ms.back());
  std::printf("floor: %.2f ms (products %.2f, optimizer %.2f); the median is %.2f times that\n",
              report.floor_ms(), report.product_ms, report.optimizer_ms,
              report.median_ms() / report.floor_ms());
  std::printf("peak memory of tensors: %.1f MB\n", static_cast<double>(report.peak_bytes) / 1e6);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

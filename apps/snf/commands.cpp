#include "backflow/apps/snf/commands.h"

#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <numeric>

#include "backflow/apps/bench/bench.h"
#include "backflow/apps/bench/profile_table.h"
#include "backflow/apps/data/code_lengths.h"
#include "backflow/apps/files/columns.h"
#include "backflow/apps/files/quote.h"
#include "backflow/apps/files/text.h"
#include "backflow/apps/model/checkpoint.h"
#include "backflow/apps/model/datasets.h"
#include "backflow/apps/pictures/filters.h"
#include "backflow/apps/train/run_directory.h"
#include "backflow/engine/parallel.h"
#include "backflow/ops/instructions.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

using Json = nlohmann::ordered_json;

static void print(const Json& json) { std::printf("%s\n", json.dump(2).c_str()); }

void list_experiments() {
  Column names{{"experiment"}}, models{{"model"}}, data{{"data"}}, papers{{"paper: test NLL"}};
  Column parameters{{"parameters"}, true};
  for (const Experiment& experiment : experiments()) {
    const Config& config = experiment.config;
    names.cells.push_back(config.experiment);
    models.cells.push_back(model_description(config));
    data.cells.push_back(config.dataset);
    parameters.cells.push_back(
        std::to_string(parameter_count(config, datasets()[config.dataset].shape)));
    papers.cells.push_back(experiment.paper);
  }
  std::printf("%s", in_columns({names, models, data, parameters, papers}).c_str());
}

// ---- Checkpoints ----------------------------------------------------------------------------

struct Loaded {
  Config config;
  Model model;
};

// The model as its checkpoint has it: configuration, image shape, parameters.
static Loaded load_model(const CheckpointOptions& options) {
  const Experiment& experiment = find_experiment(options.experiment);
  const Checkpoint checkpoint = load_checkpoint(options.checkpoint, options.experiment);
  Config config = config_of(checkpoint, experiment);
  if (checkpoint.ours() && !options.assignments.empty())
    fail("--set", options.checkpoint.string(), " knows its configuration; leave --set out");
  for (const auto& [key, value] : options.assignments) set_field(config, key, value);
  validate(config);
  Model model = make_model(checkpoint, config, image_of(checkpoint, config));
  restore(model, checkpoint);
  return {std::move(config), std::move(model)};
}

// As asked for; or, when the checkpoint lies in the directory of its run, as that had them.
static std::filesystem::path find_data(const std::string& dataset, const DataOptions& options,
                                       const CheckpointOptions& model, const Config& config) {
  if (!options.data.empty()) return options.data;
  const RunDirectory run{model.checkpoint.parent_path() / ".."};
  const auto as_in_run = dataset == config.dataset ? data_of(load_notes(run)) : std::nullopt;
  return as_in_run.value_or(datasets()[dataset].directory());
}

static ImageSet part_of(ImageSplits& all, Split split) {
  return std::move(split == Split::train        ? all.train
                   : split == Split::validation ? all.validation
                                                : all.test);
}

struct Images {
  ImageSet set;
  std::string name;
  bool comparable;  // with the paper's figures
};

// Fails unless the model can look at them.
static Images load_images(const DataOptions& options, const CheckpointOptions& model,
                          const Loaded& loaded) {
  const std::string& dataset = options.dataset.empty() ? loaded.config.dataset : options.dataset;
  const auto dir = find_data(dataset, options, model, loaded.config);
  ImageSplits all = load_dataset(dataset, dir, loaded.model.context().of_labels);
  const bool comparable = is_comparable(loaded.config, all);
  Images images{part_of(all, options.split), all.name, comparable};
  const ImageShape& expected = loaded.model.image();
  const ImageSet& set = images.set;
  if (set.channels != expected.channels || set.height != expected.height ||
      set.width != expected.width)
    fail(dir.string(), "the images are ", set.channels, " x ", set.height, " x ", set.width,
         ", this checkpoint's model expects ", expected.channels, " x ", expected.height, " x ",
         expected.width);
  return images;
}

// The one asked for, or the learned one where there is one.
static Inverse choose_inverse(const CheckpointOptions& options, const Model& model,
                              std::optional<Inverse> asked) {
  if (asked == Inverse::learned && !model.has_learned_inverse())
    fail("--inverse", options.experiment, " has no learned inverse; use exact");
  return asked.value_or(model.has_learned_inverse() ? Inverse::learned : Inverse::exact);
}

static const char* name_of(Inverse inverse) {
  return inverse == Inverse::learned ? "learned" : "exact";
}

static const char* name_of(Split split) {
  return split == Split::train ? "train" : split == Split::validation ? "validation" : "test";
}

static Likelihood likelihood_of(const Model& model, const ImageSet& images,
                                const EvaluateOptions& options) try {
  const Likelihood result = evaluate(model, images, options.split, options.noise, options.limit);
  if (!std::isfinite(result.nll)) throw Diverged("it is not finite");
  return result;
} catch (const Diverged& error) {
  fail(options.checkpoint.string(), "no ",
       model.has_exact_likelihood() ? "exact NLL: " : "NLL: ", error.what(),
       "; has the model diverged?");
}

// As --json has it, and as words.
static std::pair<const char*, const char*> kind_of_nll(const Model& model) {
  if (!model.has_exact_likelihood()) return {"unbiased estimate", "NLL, an unbiased estimate"};
  if (model.is_of_whole_numbers())
    return {"exact probability", "exact NLL of whole numbers, without dequantization"};
  return {"exact density", "exact NLL"};
}

std::string code_lengths_in_words(const ImageSet& images, Index limit) {
  const CodeLengths files = code_lengths(images, limit);
  return text(
      "files of the same images, bits/dim: PNG of each %.4f, gzip of each %.4f, gzip of all "
      "together "
      "%.4f\n",
      files.png, files.gzip, files.gzip_of_all);
}

static Json json_of(const EvaluateOptions& options, const Loaded& loaded, const ImageSet& images,
                    const Likelihood& result, const std::string& noise) {
  Json json{{"experiment", options.experiment},
            {"split", name_of(options.split)},
            {"images", result.images},
            {"noise", noise},
            {"context", loaded.config.context},
            {"likelihood", kind_of_nll(loaded.model).first},
            {"nll_nats", result.nll},
            {"standard_error", result.standard_error},
            {"bits_per_dim", bits_per_dim(result.nll, loaded.model.image())},
            {"log_prob_first", result.first}};
  if (!loaded.model.is_of_whole_numbers()) return json;
  const CodeLengths files = code_lengths(images, options.limit);
  json["files_bits_per_dim"] = {
      {"png", files.png}, {"gzip", files.gzip}, {"gzip_of_all", files.gzip_of_all}};
  return json;
}

void evaluate_checkpoint(const EvaluateOptions& options) {
  const Experiment& experiment = find_experiment(options.experiment);
  const Loaded loaded = load_model(options);
  const Model& model = loaded.model;
  const Images images = load_images(options, options, loaded);
  const Likelihood result = likelihood_of(model, images.set, options);
  const char* noise = model.is_of_whole_numbers()       ? "no"
                      : options.noise == Noise::uniform ? "uniform"
                                                        : "midpoint";
  if (options.json) return print(json_of(options, loaded, images.set, result, noise));
  std::printf("%s on %lld %s images of %s, %s noise\n", options.experiment.c_str(),
              number(result.images), name_of(options.split), printable(images.name).c_str(), noise);
  const bool labels = model.context().of_labels;
  std::printf("%s%s: %.2f +- %.2f nats per image, %.4f bits/dim\n", kind_of_nll(model).second,
              labels ? " of the images given their labels" : "", result.nll, result.standard_error,
              bits_per_dim(result.nll, model.image()));
  if (model.is_of_whole_numbers())
    std::printf("%s", code_lengths_in_words(images.set, options.limit).c_str());
  if (images.comparable) std::printf("paper, converged: %s on test\n", experiment.paper.c_str());
}

// Ends a line about a picture whose words could not be drawn.
static const char* unless_captioned(bool captions) {
  return captions ? "" : "; without captions: gnuplot is missing, or fails";
}

// "learned against exact inverse: mean |difference| 0.013 of a pixel's range", or why there is no
// number. Empty where there is only one inverse. Looks at the first samples only: an exact inverse
// can take long.
static std::string compare_inverses(const Model& model, SampleOptions options,
                                    const Tensor& samples) try {
  if (!model.has_learned_inverse()) return "";
  options.count = std::min<Index>(sample_count(model, options), 64);
  options.inverse = options.inverse == Inverse::exact ? Inverse::learned : Inverse::exact;
  const double apart =
      mean_difference(slice(samples, 0, 0, options.count), draw_samples(model, options));
  if (!std::isfinite(apart)) fail(name_of(options.inverse), "a sample is not finite");
  return text("learned against exact inverse: mean |difference| %.2g of a pixel's range", apart);
} catch (const Error& error) {
  return std::string("learned against exact inverse: no number, ") + error.what();
}

void sample_checkpoint(const SampleCommand& command) {
  const Model model = load_model(command).model;
  SampleOptions options = command.samples;
  options.inverse = choose_inverse(command, model, command.inverse);
  const Tensor samples = draw_samples(model, options);
  std::vector<std::string> lines = {text("%lld samples by the %s inverse, temperature %g",
                                         number(samples.size(0)), name_of(options.inverse),
                                         options.temperature)};
  if (model.context().of_labels) lines.push_back("a row for each label, from 0 above to 9");
  if (const std::string other = compare_inverses(model, options, samples); !other.empty())
    lines.push_back(other);
  bool captions = true;
  if (command.plain)
    save_samples(command.out, samples, model.context().width);
  else
    captions = save_captioned_samples(command.out, samples, lines, model.context().width);
  std::printf("%s: %s%s\n", command.out.c_str(), lines[0].c_str(), unless_captioned(captions));
  for (std::size_t i = 1; i < lines.size(); ++i) std::printf("%s\n", lines[i].c_str());
}

void reconstruct_images(const ReconstructCommand& command) {
  const Loaded loaded = load_model(command);
  const ImageSet images = load_images(command, command, loaded).set;
  const Inverse inverse = choose_inverse(command, loaded.model, command.inverse);
  std::vector<std::uint32_t> first(std::min(command.count, images.count()));
  std::iota(first.begin(), first.end(), 0u);
  const Reconstruction result =
      save_reconstruction(command.out, loaded.model, to_tensor(images, first), inverse,
                          loaded.model.context().of_images(images, first));
  std::printf(
      "%s: %lld %s images, back by the %s inverse, mean |difference| %.2g of a pixel's range%s\n",
      command.out.c_str(), number(std::ssize(first)), name_of(command.split), name_of(inverse),
      result.difference, unless_captioned(result.captions));
  std::printf("rows: the images, what the inverse makes of their latents, and |difference|\n");
}

void draw_filters(const FiltersCommand& command) {
  const FilterPictures pictures = save_filters(command.out, load_model(command).model);
  if (pictures.files == 0)
    fail(command.experiment, "has no self-normalizing convolutions with more than one tap");
  std::printf("%s: the filters of %d layers%s\n", command.out.c_str(), pictures.files,
              unless_captioned(pictures.captions));
  std::printf("side by side: W, R, and R flipped, which stands for W^-T in the gradient of W\n");
  std::printf("red is positive, blue negative, white 0; the bar below each panel is its scale\n");
}

void export_weights(const ExportCommand& command) {
  const Checkpoint checkpoint = load_checkpoint(command.checkpoint, command.experiment);
  if (!checkpoint.ours())
    fail(checkpoint.name, "found a state_dict from elsewhere, expected a checkpoint that ",
         "'snf train' wrote; other commands take it as it is");
  const Loaded loaded = load_model(command);
  save_weights(command.out, checkpoint, loaded.config, loaded.model);
  std::printf("%s: the weights of %s, %lld numbers\n", command.out.c_str(),
              command.experiment.c_str(), number(loaded.model.parameter_count()));
}

// ---- Speed ------------------------------------------------------------------------------------

static Json as_json(const Profile& profile, Index steps) {
  const double n = static_cast<double>(steps);
  Json rows = Json::array();
  for (const auto& [key, cost] : profile.slowest_first())
    rows.push_back({{"op", key.op},
                    {"phase", key.phase},
                    {"ms", 1000 * cost.seconds / n},
                    {"calls", static_cast<double>(cost.calls) / n},
                    {"bytes", static_cast<double>(cost.bytes) / n}});
  return rows;
}

static Json as_json(const BenchOptions& options, Index batch_size, const BenchReport& report,
                    const std::vector<SamplingTime>& sampling) {
  const auto& ms = report.step_ms;
  Json samples = Json::array();
  for (const SamplingTime& time : sampling)
    samples.push_back({{"inverse", name_of(time.inverse)},
                       {"samples", time.count},
                       {"ms", time.ms},
                       {"ms_per_sample", time.ms / static_cast<double>(time.count)}});
  Json json{
      {"experiment", options.experiment},
      {"threads", threads()},
      {"instructions", vector_instructions()},
      {"batch_size", batch_size},
      {"steps", options.steps},
      {"ms_per_step", {{"min", ms.front()}, {"median", report.median_ms()}, {"max", ms.back()}}},
      {"floor_ms", report.floor_ms()},
      {"product_ms", report.product_ms},
      {"optimizer_ms", report.optimizer_ms},
      {"necessary_gflop", report.necessary_flop / 1e9},
      {"gflops", report.step_gflops()},
      {"product_gflops", report.product_gflops()},
      {"square_product_gflops", report.square_gflops},
      {"peak_bytes", report.peak_bytes},
      {"sampling", samples}};
  if (!options.profile) return json;
  json["profile"] = as_json(report.profile, options.steps);
  json["profile_ms"] = 1000 * report.profile.seconds() / static_cast<double>(options.steps);
  json["mean_ms_per_step"] = report.mean_ms();
  return json;
}

void bench_experiment(const BenchOptions& options) {
  Config config = find_experiment(options.experiment).config;
  for (const auto& [key, value] : options.assignments) set_field(config, key, value);
  validate(config);
  if (options.batch_size > 0) config.batch_size = options.batch_size;
  const ImageShape image = datasets()[config.dataset].shape;
  const BenchReport report =
      bench(config, image, options.steps, options.profile, options.shard_schedule);
  release_pooled_buffers();
  const std::vector<SamplingTime> sampling = bench_sampling(config, image);
  if (options.json) return print(as_json(options, config.batch_size, report, sampling));
  std::printf("%s, %d threads, batches of %lld, %lld steps\n", options.experiment.c_str(),
              threads(), number(config.batch_size), number(options.steps));
  std::printf("ms per step: median %.2f, min %.2f, max %.2f\n", report.median_ms(),
              report.step_ms.front(), report.step_ms.back());
  std::printf("floor: %.2f ms (products %.2f, optimizer %.2f); the median is %.2f times that\n",
              report.floor_ms(), report.product_ms, report.optimizer_ms,
              report.median_ms() / report.floor_ms());
  std::printf(
      "products: %.2f GFLOP, at %.1f GFLOP/s over the whole step; alone at %.1f, large square ones "
      "at %.1f; built for %s\n",
      report.necessary_flop / 1e9, report.step_gflops(), report.product_gflops(),
      report.square_gflops, vector_instructions());
  std::printf("peak memory of tensors: %.1f MB\n", static_cast<double>(report.peak_bytes) / 1e6);
  for (const SamplingTime& time : sampling)
    std::printf("sampling, %s inverse: %.3f ms per sample, %lld at once\n", name_of(time.inverse),
                time.ms / static_cast<double>(time.count), number(time.count));
  if (options.profile) print_profile(report.profile, options.steps, report.mean_ms());
}

}  // namespace backflow::inline BACKFLOW_PRECISION

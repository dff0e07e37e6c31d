#include "backflow/apps/snf/train.h"

#include <zlib.h>

#include <chrono>
#include <cstdio>
#include <numeric>
#include <utility>

#include "backflow/apps/bench/profile_table.h"
#include "backflow/apps/data/purposes.h"
#include "backflow/apps/files/quote.h"
#include "backflow/apps/files/text.h"
#include "backflow/apps/model/augmentations.h"
#include "backflow/apps/model/contexts.h"
#include "backflow/apps/model/datasets.h"
#include "backflow/apps/model/schedules.h"
#include "backflow/apps/pictures/curve.h"
#include "backflow/apps/pictures/filters.h"
#include "backflow/apps/pictures/pictures.h"
#include "backflow/apps/snf/commands.h"
#include "backflow/apps/snf/resume.h"
#include "backflow/apps/train/loop.h"
#include "backflow/apps/train/run_copy.h"
#include "backflow/engine/parallel.h"
#include "backflow/engine/trace.h"
#include "backflow/ops/blas.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

namespace fs = std::filesystem;

ImageShape shape_of(const ImageSet& images) {
  return {images.channels, images.height, images.width};
}

class ImageTraining : public Task {
 public:
  // `found` is where the rank finds what an earlier process left of the run.
  ImageTraining(const TrainOptions& options, const RunDirectory& found, Ranks& ranks);
  int run();

  StepResult step(const std::vector<std::uint32_t>& examples, Index epoch, Index step) override;
  std::string news() override { return std::exchange(news_, ""); }
  double learning_rate(Index step) const override {
    return config_.lr * schedule_.factor(config_, step, steps_per_epoch());
  }
  double validation_nll(const EvaluationWatch& watch) const override {
    check_same_model();
    return likelihood(images_.validation, Split::validation, watch).nll;
  }
  double test_nll(const EvaluationWatch& watch) const override {
    const Likelihood test = likelihood(images_.test, Split::test, watch);
    standard_error_of_best_ = test.standard_error;
    return test.nll;
  }
  void save(const fs::path& checkpoint, const Position& position) override {
    save_checkpoint(checkpoint, config_, model_, *optimizer_, position);
  }
  void save_configuration(const Position& position) override {
    save_config(run_, config_, find_notes(run_, config_, position, checkpoint_.has_value(), data_));
  }
  void draw_pictures(Index epoch, const MetricsTable& metrics, const Draw& draw) override;
  std::string head() const override;
  std::string end(const Position& position) const override;
  std::string resuming_command() const override;
  void show_profile(const Profile& profile, Index steps, double ms_per_step) const override {
    print_profile(profile, steps, ms_per_step);
  }

 private:
  void check_same() const;
  void check_same_model() const;
  TrainingStart start();
  Index steps_per_epoch() const;
  Likelihood likelihood(const ImageSet& images, Split split, const EvaluationWatch& watch) const {
    return evaluate(model_, images, split, Noise::uniform, 0, ranks_, watch);
  }
  LogColumns columns() const {
    LogColumns columns{model_.objective_is_likelihood() ? "training NLL" : "objective"};
    if (!model_.has_exact_likelihood()) columns.nll = "NLL est.";
    return columns;
  }
  std::string lines_on_nlls() const;
  std::string best_nlls(const Position& position) const;
  void draw_curve(const MetricsTable& metrics) const;

  const TrainOptions& options_;
  Ranks& ranks_;
  const Experiment& experiment_;
  const RunDirectory run_;
  std::optional<RunLock> lock_;
  const std::optional<Checkpoint> checkpoint_;  // that we go on from
  const Config config_;
  const fs::path data_;
  const ImageSplits images_;
  const ScheduleRow& schedule_;
  const Model model_;
  const std::unique_ptr<Optimizer> optimizer_;
  ShardScheduler scheduler_;
  std::string news_;
  // Of the test NLL at the best epoch, where this process has seen it.
  mutable std::optional<double> standard_error_of_best_;
};

ImageTraining::ImageTraining(const TrainOptions& options, const RunDirectory& found, Ranks& ranks)
    : options_(options),
      ranks_(ranks),
      experiment_(find_experiment(options.experiment)),
      run_{options.out},
      lock_(RunLock::of_existing(found)),
      checkpoint_(find_checkpoint(found, options.resume, options.experiment)),
      config_(find_config(options, checkpoint_, found)),
      data_(find_data(options, found, config_)),
      images_(load_dataset(config_.dataset, data_, contexts()[config_.context].of_labels)),
      schedule_(schedules()[config_.schedule]),
      model_(checkpoint_ ? make_model(*checkpoint_, config_, shape_of(images_.train))
                         : Model(config_, shape_of(images_.train))),
      optimizer_(make_optimizer(config_, model_)),
      // A profile is that of this thread's ops.
      scheduler_(config_.shards, threads(),
                 options.profile ? ShardSchedule::in_turn : options.shard_schedule, ranks.count()) {
}

int ImageTraining::run() {
  check_share(ranks_, config_.shards);
  check_same();
  const TrainingStart begin = start();
  check_same_on_ranks(ranks_, "place in the run",
                      text("epoch %lld after step %lld", number(begin.position.epoch + 1),
                           number(begin.position.batch)));
  check_same_model();
  const TrainingPlan plan{.name = options_.experiment,
                          .epochs = config_.epochs,
                          .steps_per_epoch = steps_per_epoch(),
                          .examples = images_.train.count(),
                          .batch_size = config_.batch_size,
                          .shuffle = config_.shuffle,
                          .seed = config_.seed,
                          .can_go_on = !schedule_.knows_the_end,
                          .save_minutes = options_.save_minutes,
                          .quiet = options_.quiet,
                          .profile = options_.profile,
                          .columns = columns()};
  return run_training(*this, plan, run_, std::move(lock_), begin, ranks_);
}

// What decides over the bits, and is this rank's own.
void ImageTraining::check_same() const {
  if (!ranks_.are_several()) return;
  Config::visit(config_, [&](const std::string& key, const auto&, const char*) {
    check_same_on_ranks(ranks_, key, field_as_text(config_, key));
  });
  const auto check = [&](const std::string& split, std::uint32_t checksum) {
    check_same_on_ranks(ranks_, "checksum of the " + split + " images", text("%08x", checksum));
  };
  check("training", images_.train_checksum);
  check("validation", images_.validation_checksum);
  check("test", images_.test_checksum);
  check_same_on_ranks(ranks_, "OpenBLAS kernel", blas_kernel());
}

// Each rank trains its own; where nothing else was different, libraries or processors may be.
void ImageTraining::check_same_model() const {
  if (!ranks_.are_several()) return;
  uLong checksum = crc32(0, nullptr, 0);
  const auto add = [&checksum](const Tensor& x) {
    checksum = crc32_z(checksum, reinterpret_cast<const Bytef*>(x.data()),
                       static_cast<std::size_t>(x.size()) * sizeof(Real));
  };
  for (const auto& [name, parameter] : model_.density().parameters()) add(parameter->value());
  for (const auto& [name, buffer] : model_.density().buffers()) add(*buffer);
  check_same_on_ranks(ranks_, "checksum of the model", text("%08lx", checksum));
}

TrainingStart ImageTraining::start() {
  if (!checkpoint_) return {first_position(images_)};
  TrainingStart start{find_position(*checkpoint_, images_, steps_per_epoch(), data_), true};
  restore(model_, *checkpoint_);
  restore(*optimizer_, *checkpoint_);
  if (ranks_.is_first()) warn_of_another_kernel(*checkpoint_);
  start.unsaved = checkpoint_->name != run_.last().string() ||
                  config_.lr != config_of(*checkpoint_, experiment_).lr;
  return start;
}

Index ImageTraining::steps_per_epoch() const {
  const Index all = (images_.train.count() + config_.batch_size - 1) / config_.batch_size;
  return config_.limit_batches > 0 ? std::min(all, config_.limit_batches) : all;
}

StepResult ImageTraining::step(const std::vector<std::uint32_t>& examples, Index epoch,
                               Index step) {
  const auto number = static_cast<std::uint32_t>(epoch);
  Pass pass;
  pass.noise = Random(config_.seed, purposes::dequantization, number);
  pass.examples = examples;
  pass.context = model_.context().of_images(images_.train, examples);
  const Random changes(config_.seed, purposes::augmentation, number);
  const Tensor images = augmentations()[config_.augment].change(to_tensor(images_.train, examples),
                                                                changes, examples);
  trace_work("load the batch");
  try {
    const auto start = std::chrono::steady_clock::now();
    const StepResult result = training_step(model_, *optimizer_, config_, images, pass,
                                            learning_rate(step), scheduler_.next(), ranks_);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    news_ = scheduler_.took(took.count());
    return result;
  } catch (const Error& cause) {
    throw Diverged(cause.what());
  }
}

void ImageTraining::draw_pictures(Index epoch, const MetricsTable& metrics, const Draw& draw) {
  std::vector<std::uint32_t> first(std::min<Index>(10, images_.validation.count()));
  std::iota(first.begin(), first.end(), 0u);
  draw([&] {
    save_reconstruction(run_.reconstruction(), model_, to_tensor(images_.validation, first),
                        Inverse::learned, model_.context().of_images(images_.validation, first));
  });
  draw([&] { draw_curve(metrics); });
  draw([&] { save_filters(run_.filters(), model_); });
  draw([&] { save_samples(run_.samples(epoch), model_, {}); });
}

void ImageTraining::draw_curve(const MetricsTable& metrics) const {
  std::vector<CurvePoint> points;
  for (const EpochMetrics& row : metrics.rows())
    points.push_back({static_cast<double>(row.epoch), row.validation_nll, row.test_nll});
  std::optional<ReferenceLine> paper;
  if (is_comparable(config_, images_) && experiment_.paper_nll)
    paper = {*experiment_.paper_nll, "paper, converged: " + experiment_.paper};
  CurveAxes axes;
  if (!model_.has_exact_likelihood()) axes.loss = "NLL, an unbiased estimate, nats per image";
  plot_curve(points, run_.curve(), options_.experiment + " on " + images_.name, paper, axes);
}

// What the numbers are, unless all are exact, and of a density.
std::string ImageTraining::lines_on_nlls() const {
  if (model_.is_of_whole_numbers())
    return "NLLs are exact, and of the images' probability: their pixels are whole numbers, and "
           "nothing is dequantized.\n";
  if (!model_.has_exact_likelihood())
    return "NLL est.: an unbiased estimate of the NLL, from the same random numbers in each epoch, "
           "and so is the objective.\n";
  if (!model_.objective_is_likelihood())
    return "The objective is what training minimises, not a likelihood. NLLs are exact.\n";
  return "";
}

std::string ImageTraining::head() const {
  return text("%s: %s; %lld parameters\n", config_.experiment.c_str(),
              model_description(config_).c_str(), number(model_.parameter_count())) +
         text("images: %s, %lld training, %lld validation, %lld test; %lld steps an epoch\n",
              printable(images_.name).c_str(), number(images_.train.count()),
              number(images_.validation.count()), number(images_.test.count()),
              number(steps_per_epoch())) +
         (config_.shards > 1 ? text("shards: %s\n", scheduler_.in_words().c_str()) : "") +
         (ranks_.are_several()
              ? text("ranks: %lld, each computes %lld of the shards; threads of the first: %d\n",
                     number(ranks_.count()), number(config_.shards / ranks_.count()), threads())
              : "") +
         text("run directory: %s\n", run_.root.c_str()) + lines_on_nlls() + "\n" +
         TrainingLog::names(columns());
}

std::string ImageTraining::best_nlls(const Position& position) const {
  const double bits = bits_per_dim(position.best_test_nll, model_.image());
  if (model_.has_exact_likelihood())
    return text("validation NLL %.1f, test NLL %.1f nats per image, %.3f bits/dim",
                position.best_nll, position.best_test_nll, bits);
  const std::string error =
      standard_error_of_best_ ? text(" +- %.1f", *standard_error_of_best_) : "";
  return text("validation NLL est. %.1f, test NLL est. %.1f%s nats per image, %.3f bits/dim",
              position.best_nll, position.best_test_nll, error.c_str(), bits);
}

std::string ImageTraining::end(const Position& position) const {
  return text("\nbest: epoch %lld, %s\n", number(position.best_epoch),
              best_nlls(position).c_str()) +
         (model_.is_of_whole_numbers() ? code_lengths_in_words(images_.test) : "") +
         (is_comparable(config_, images_)
              ? text("paper, converged: test NLL %s\n", experiment_.paper.c_str())
              : "") +
         text("checkpoint: %s\n", run_.best().c_str());
}

std::string ImageTraining::resuming_command() const {
  return (ranks_.are_several() ? text("mpirun -n %lld ", number(ranks_.count())) : "") +
         shell_word(options_.program) + " train " + options_.experiment + " --data " +
         shell_word(data_) + " --out " + shell_word(options_.out) + " --resume";
}

}  // namespace

int train(const TrainOptions& options, Ranks& ranks) {
  std::optional<ImageTraining> training;
  {
    const RunCopy found({options.out}, options.resume, ranks);
    training.emplace(options, found.directory(), ranks);
  }
  return training->run();
}

}  // namespace backflow::inline BACKFLOW_PRECISION

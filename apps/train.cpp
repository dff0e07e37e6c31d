#include "apps/train.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "apps/augment.h"
#include "apps/checkpoint.h"
#include "apps/filters.h"
#include "apps/interrupt.h"
#include "apps/io/curve.h"
#include "apps/io/datasets.h"
#include "apps/io/png.h"
#include "apps/pictures.h"
#include "apps/profile_table.h"
#include "apps/progress.h"
#include "apps/run_directory.h"
#include "apps/step.h"
#include "apps/training_log.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Config assigned(Config config, const TrainOptions& options) {
  for (const auto& [key, value] : options.assignments) set_field(config, key, value);
  validate(config);
  return config;
}

// A run goes on as it began: only how far it goes may change.
Config resumed_config(const TrainOptions& options, const Experiment& experiment,
                      const Checkpoint& checkpoint, const RunDirectory& run) {
  Config begun = config_of(checkpoint, experiment);
  begun.epochs = load_config(run).epochs;
  const Config asked = assigned(begun, options);
  for (const auto& [key, value] : options.assignments) {
    const std::string was = field_as_text(begun, key), is = field_as_text(asked, key);
    if (key != "epochs" && was != is)
      fail(key, "this run began with ", was, ", --resume asks for ", is,
           "; leave it out, or begin a new run with another --out");
  }
  return asked;
}

ImageShape shape_of(const ImageSet& images) {
  return {images.channels, images.height, images.width};
}

std::optional<Checkpoint> find_checkpoint(const TrainOptions& options, const RunDirectory& run) {
  std::error_code ignored;
  const bool exists = fs::exists(run.last(), ignored);
  if (!options.resume && exists)
    fail(run.root.string(), "holds a run already; go on with --resume, or choose another --out");
  if (!options.resume) return {};
  if (!exists)
    fail(run.last().string(), "no such checkpoint: there is nothing to resume; leave --resume out");
  return load_checkpoint(run.last(), options.experiment);
}

Index steps_per_epoch(const Config& config, const ImageSet& images) {
  const Index all = (images.count() + config.batch_size - 1) / config.batch_size;
  return config.limit_batches > 0 ? std::min(all, config.limit_batches) : all;
}

std::vector<std::uint32_t> training_order(const Config& config, Index images, Index epoch) {
  const auto n = static_cast<std::uint32_t>(images);
  if (config.shuffle)
    return Random(config.seed, Purpose::shuffling, static_cast<std::uint32_t>(epoch))
        .permutation(n);
  std::vector<std::uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  return order;
}

// As one word for a shell.
std::string quoted(const std::string& text) {
  if (text.find_first_of(" \t\n'\"\\$&|;<>()*?[]#~`!{}") == text.npos) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

class Training {
 public:
  explicit Training(const TrainOptions& options);
  int run();

 private:
  void go_on();
  bool run_epoch();  // false: interrupted
  bool run_steps();
  struct Batch {
    Tensor images;
    Pass pass;
  };
  Batch load_batch() const;
  void run_step(const Batch& batch);
  EpochMetrics evaluate_epoch();
  double exact_nll(const ImageSet& images, Split split) const;
  Diverged diverged(const std::string& where, const Error& cause) const;
  void save_pictures();
  template <class Action>
  void draw(const Action& action);
  void save(const fs::path& path) const {
    save_checkpoint(path, config_, model_, *optimizer_, position_);
  }
  void stop();

  Index epoch() const { return position_.epoch + 1; }  // the one that is running
  Index steps_done() const { return position_.epoch * steps_per_epoch_ + position_.batch; }

  const TrainOptions& options_;
  const Experiment& experiment_;
  const RunDirectory run_;
  const std::optional<Checkpoint> checkpoint_;  // that we go on from
  const Config config_;
  const fs::path data_;
  const ImageSplits images_;
  const Index steps_per_epoch_, warmup_steps_;
  const Model model_;
  const std::unique_ptr<Optimizer> optimizer_;
  const TrainingLog log_;
  Position position_;
  std::optional<MetricsTable> metrics_;
  std::optional<Progress> progress_;
  std::vector<std::uint32_t> order_;  // of the training images in this epoch
  double learning_rate_ = 0;
  Profile profile_;
  Index profiled_steps_ = 0;
  double profiled_seconds_ = 0;
};

Training::Training(const TrainOptions& options)
    : options_(options),
      experiment_(find_experiment(options.experiment)),
      run_{options.out},
      checkpoint_(find_checkpoint(options, run_)),
      config_(checkpoint_ ? resumed_config(options, experiment_, *checkpoint_, run_)
                          : assigned(experiment_.config, options)),
      data_(options.data.empty() ? default_directory(config_.dataset) : options.data),
      images_(load_dataset(config_.dataset, data_)),
      steps_per_epoch_(steps_per_epoch(config_, images_.train)),
      warmup_steps_(std::llround(config_.warmup_epochs * static_cast<double>(steps_per_epoch_))),
      model_(config_, shape_of(images_.train)),
      optimizer_(make_optimizer(config_, model_)),
      log_(experiment_, config_, model_, options.quiet) {
  position_.data_checksum = checksum(images_.train);
  if (checkpoint_) go_on();
}

void Training::go_on() {
  const Position position = position_of(*checkpoint_);
  if (position.data_checksum != position_.data_checksum)
    fail(data_.string(), "not the images that this run began with; name theirs with --data");
  if (position.epoch < 0 || position.batch < 0 || position.batch >= steps_per_epoch_)
    fail(checkpoint_->name, "epoch ", position.epoch, ", step ", position.batch,
         " is no place in epochs of ", steps_per_epoch_, " steps");
  restore(model_, *checkpoint_);
  restore(*optimizer_, *checkpoint_);
  position_ = position;
}

int Training::run() {
  if (position_.epoch >= config_.epochs) {
    log_.nothing_to_do(run_, config_.epochs);
    return 0;
  }
  run_.prepare();
  save_config(run_, config_, data_);
  if (!checkpoint_) save(run_.last());
  metrics_.emplace(run_.metrics(), position_.epoch);
  log_.head(images_, steps_per_epoch_, run_);
  const Interrupt interrupt;
  progress_.emplace(steps_done(), config_.epochs * steps_per_epoch_, options_.quiet);
  bool finished = true;
  while (finished && position_.epoch < config_.epochs) finished = run_epoch();
  if (finished) {
    log_.end(position_, run_);
  } else {
    stop();
  }
  if (options_.profile && profiled_steps_ > 0)
    print_profile(profile_, profiled_steps_, 1000 * profiled_seconds_ / profiled_steps_);
  return finished ? 0 : Interrupt::exit_code();
}

bool Training::run_epoch() {
  const auto start = Clock::now();
  const Index first_step = position_.batch;
  order_ = training_order(config_, images_.train.count(), epoch());
  if (!run_steps()) return false;
  const double step_seconds = seconds_since(start);
  EpochMetrics row = evaluate_epoch();
  row.ms_per_step = 1000 * step_seconds / static_cast<double>(steps_per_epoch_ - first_step);
  row.seconds = seconds_since(start);
  metrics_->append(row);
  save_pictures();
  position_.epoch += 1;
  position_.batch = 0;
  position_.objective_sum = position_.reconstruction_sum = 0;
  save(run_.last());
  progress_->clear();
  log_.row(row, config_.epochs);
  return true;
}

// What is left of the epoch. False: interrupted.
bool Training::run_steps() {
  const auto start = Clock::now();
  std::optional<Profiler> profiler;
  if (options_.profile) profiler.emplace(profile_);
  bool interrupted = false;
  while (position_.batch < steps_per_epoch_ && !(interrupted = Interrupt::requested())) {
    run_step(load_batch());
    trace_work("end of the step");
    ++profiled_steps_;
  }
  profiled_seconds_ += seconds_since(start);
  return !interrupted;
}

Training::Batch Training::load_batch() const {
  const Index first = position_.batch * config_.batch_size;
  const Index count = std::min<Index>(config_.batch_size, std::ssize(order_) - first);
  Pass pass;
  pass.noise = Random(config_.seed, Purpose::dequantization, static_cast<std::uint32_t>(epoch()));
  pass.examples.assign(order_.begin() + first, order_.begin() + first + count);
  const Random changes(config_.seed, Purpose::augmentation, static_cast<std::uint32_t>(epoch()));
  const Tensor images = to_tensor(images_.train, pass.examples);
  Batch batch{augment(config_.augment, images, changes, pass.examples), std::move(pass)};
  trace_work("load the batch");
  return batch;
}

void Training::run_step(const Batch& batch) try {
  learning_rate_ = config_.lr * linear_warmup(steps_done() + 1, warmup_steps_);
  const StepResult result =
      training_step(model_, *optimizer_, config_, batch.images, batch.pass, learning_rate_);
  position_.objective_sum += result.objective;
  position_.reconstruction_sum += result.reconstruction;
  position_.batch += 1;
  char note[64];
  std::snprintf(note, sizeof note, "epoch %lld  objective %.1f", static_cast<long long>(epoch()),
                result.objective);
  progress_->update(steps_done(), note);
} catch (const Error& cause) {  // a value that is not finite, or a singular matrix
  throw diverged(", step " + std::to_string(position_.batch + 1), cause);
}

EpochMetrics Training::evaluate_epoch() {
  EpochMetrics row;
  row.epoch = epoch();
  row.train_objective = position_.objective_sum / static_cast<double>(steps_per_epoch_);
  row.reconstruction_loss = position_.reconstruction_sum / static_cast<double>(steps_per_epoch_);
  row.learning_rate = learning_rate_;
  row.validation_nll = exact_nll(images_.validation, Split::validation);
  if (position_.best_epoch > 0 && !(row.validation_nll < position_.best_nll)) return row;
  row.test_nll = exact_nll(images_.test, Split::test);
  position_.best_epoch = row.epoch;
  position_.best_nll = row.validation_nll;
  position_.best_test_nll = *row.test_nll;
  save(run_.best());
  return row;
}

double Training::exact_nll(const ImageSet& images, Split split) const try {
  const double nll = evaluate(model_, images, split, Noise::uniform).nll;
  if (!std::isfinite(nll)) throw Diverged("the exact NLL is not finite");
  return nll;
} catch (const Diverged& cause) {
  throw diverged(", evaluation", cause);
}

Diverged Training::diverged(const std::string& where, const Error& cause) const {
  return Diverged(options_.experiment + " diverged in epoch " + std::to_string(epoch()) + where +
                  ": " + cause.what() +
                  "; the last good checkpoint is kept: " + run_.last().string());
}

// The inverse of a deep model in its youth may leave the range of numbers: that costs a picture,
// but is no reason to stop.
template <class Action>
void Training::draw(const Action& action) try {
  action();
} catch (const NotFinite& error) {
  progress_->clear();
  std::fprintf(stderr, "epoch %lld, a picture is left out: %s\n", static_cast<long long>(epoch()),
               error.what());
}

void Training::save_pictures() {
  draw([&] { save_samples(run_.samples(epoch()), model_, {}); });
  std::vector<std::uint32_t> first(std::min<Index>(10, images_.validation.count()));
  std::iota(first.begin(), first.end(), 0u);
  draw([&] {
    save_reconstruction(run_.reconstruction(), model_, to_tensor(images_.validation, first));
  });
  plot_curve(run_.metrics(), run_.curve(), options_.experiment,
             experiment_.paper_nll && is_papers_model(config_)
                 ? std::optional(ReferenceLine{*experiment_.paper_nll,
                                               "paper, converged: " + experiment_.paper})
                 : std::nullopt);
  save_filters(run_.filters(), model_);
}

void Training::stop() {
  save(run_.last());
  progress_->clear();
  std::fprintf(stderr,
               "interrupted in epoch %lld after step %lld and saved; go on with:\n"
               "  %s train %s --data %s --out %s --resume\n",
               static_cast<long long>(epoch()), static_cast<long long>(position_.batch),
               quoted(options_.program).c_str(), options_.experiment.c_str(), quoted(data_).c_str(),
               quoted(options_.out).c_str());
}

}  // namespace

int train(const TrainOptions& options) { return Training(options).run(); }

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/apps/train/train.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "backflow/apps/bench/profile_table.h"
#include "backflow/apps/files/png.h"
#include "backflow/apps/files/quote.h"
#include "backflow/apps/model/augmentations.h"
#include "backflow/apps/model/checkpoint.h"
#include "backflow/apps/model/datasets.h"
#include "backflow/apps/pictures/curve.h"
#include "backflow/apps/pictures/filters.h"
#include "backflow/apps/pictures/pictures.h"
#include "backflow/apps/train/interrupt.h"
#include "backflow/apps/train/progress.h"
#include "backflow/apps/train/resume.h"
#include "backflow/apps/train/run_directory.h"
#include "backflow/apps/train/step.h"
#include "backflow/apps/train/training_log.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool has_file(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

ImageShape shape_of(const ImageSet& images) {
  return {images.channels, images.height, images.width};
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
std::string shell_word(const std::string& text) {
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
  void clear_up();
  void begin();
  bool run_epoch();  // false: interrupted
  bool run_steps();
  struct Batch {
    Tensor images;
    Pass pass;
  };
  Batch load_batch() const;
  void run_step(const Batch& batch);
  EpochMetrics evaluate_epoch();
  bool is_best(double validation_nll) const;
  double exact_nll(const ImageSet& images, Split split) const;
  Diverged diverged(const std::string& where, const Error& cause) const;
  void save_pictures(Index epoch);
  template <class Action>
  void draw(Index epoch, const Action& action);
  void save(const fs::path& path);
  void save_within_epoch();
  bool save_is_due() const;
  Elapsed elapsed() const;
  void stop();

  Index epoch() const { return position_.epoch + 1; }  // the one that is running
  double learning_rate(Index step) const {             // of the step by its number, from 1
    return config_.lr * linear_warmup(step, warmup_steps_);
  }
  Index steps_done() const { return position_.epoch * steps_per_epoch_ + position_.batch; }

  const TrainOptions& options_;
  const Experiment& experiment_;
  const RunDirectory run_;
  std::optional<RunLock> lock_;
  const std::optional<Checkpoint> checkpoint_;  // that we go on from
  const Config config_;
  const fs::path data_;
  const ImageSplits images_;
  const Index steps_per_epoch_, warmup_steps_;
  const Model model_;
  const std::unique_ptr<Optimizer> optimizer_;
  TrainingLog log_;
  Position position_;
  std::optional<MetricsTable> metrics_;
  std::optional<Progress> progress_;
  std::vector<std::uint32_t> order_;  // of the training images in this epoch
  // Of this epoch: what it took before it was interrupted, if that is known, and when it went on.
  std::optional<Elapsed> elapsed_before_ = Elapsed{};
  Clock::time_point epoch_start_, last_save_ = Clock::now();
  double save_seconds_ = 0;  // that the last checkpoint took to write
  Profile profile_;
  Index profiled_steps_ = 0;
  double profiled_seconds_ = 0;
};

Training::Training(const TrainOptions& options)
    : options_(options),
      experiment_(find_experiment(options.experiment)),
      run_{options.out},
      lock_(RunLock::of_existing(run_)),
      checkpoint_(find_checkpoint(options, run_)),
      config_(find_config(options, checkpoint_, run_)),
      data_(find_data(options, run_, config_)),
      images_(load_dataset(config_.dataset, data_)),
      steps_per_epoch_(steps_per_epoch(config_, images_.train)),
      warmup_steps_(std::llround(config_.warmup_epochs * static_cast<double>(steps_per_epoch_))),
      model_(checkpoint_ ? make_model(*checkpoint_, config_, shape_of(images_.train))
                         : Model(config_, shape_of(images_.train))),
      optimizer_(make_optimizer(config_, model_)),
      log_(experiment_, config_, model_, images_, options.quiet),
      position_(first_position(images_)) {
  if (checkpoint_) go_on();
}

void Training::go_on() {
  position_ = find_position(*checkpoint_, images_, steps_per_epoch_, data_);
  restore(model_, *checkpoint_);
  restore(*optimizer_, *checkpoint_);
  if (position_.batch > 0) elapsed_before_ = load_elapsed(run_, position_.epoch, position_.batch);
  warn_of_another_kernel(*checkpoint_);
}

int Training::run() {
  if (position_.epoch >= config_.epochs) {
    if (lock_) clear_up();  // it was killed just before its end
    if (!has_file(run_.samples(position_.epoch))) save_pictures(position_.epoch);
    log_.nothing_to_do(run_, config_.epochs);
    return 0;
  }
  begin();
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

void Training::clear_up() {
  lock_->begin();
  run_.prepare();
  std::error_code ignored;
  fs::remove(run_.elapsed(), ignored);
}

// From here on, files are written.
void Training::begin() {
  const RunNotes notes = find_notes(run_, config_, position_, checkpoint_.has_value(), data_);
  metrics_.emplace(run_.metrics(), position_.epoch);
  run_.make();
  if (!lock_) lock_.emplace(RunLock::make(run_));
  run_.prepare();
  if (!checkpoint_) refuse_existing_run(run_);  // which another process may have begun meanwhile
  save_config(run_, config_, notes);
  const bool unsaved = !checkpoint_ || !has_file(run_.last()) ||
                       config_.lr != config_of(*checkpoint_, experiment_).lr;
  if (unsaved) save(run_.last());
  lock_->begin();
  log_.head(steps_per_epoch_, run_);
  // A run that was killed just after an epoch's checkpoint lacks its pictures.
  if (position_.batch == 0 && position_.epoch > 0 && !has_file(run_.samples(position_.epoch)))
    save_pictures(position_.epoch);
}

bool Training::run_epoch() {
  epoch_start_ = Clock::now();
  const Index first_step = elapsed_before_ ? 0 : position_.batch;
  order_ = training_order(config_, images_.train.count(), epoch());
  if (!run_steps()) return false;
  const double step_seconds = elapsed().step_seconds;
  const Index steps = steps_per_epoch_ - first_step;  // that were timed
  EpochMetrics row = evaluate_epoch();
  row.ms_per_step = steps > 0 ? 1000 * step_seconds / static_cast<double>(steps) : 0;
  row.seconds = elapsed().seconds;
  metrics_->append(row);
  position_.epoch += 1;
  position_.batch = 0;
  position_.objective_sum = position_.reconstruction_sum = 0;
  save(run_.last());
  elapsed_before_ = Elapsed{};
  std::error_code ignored;
  fs::remove(run_.elapsed(), ignored);
  save_pictures(row.epoch);
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
    if (position_.batch < steps_per_epoch_ && save_is_due()) save_within_epoch();
  }
  profiled_seconds_ += seconds_since(start);
  return !interrupted;
}

// Its steps come first: before the evaluation, both are the same.
Elapsed Training::elapsed() const {
  const Elapsed before = elapsed_before_.value_or(Elapsed{});
  const double now = seconds_since(epoch_start_);
  return {before.seconds + now, before.step_seconds + now};
}

void Training::save(const fs::path& path) {
  const auto start = Clock::now();
  save_checkpoint(path, config_, model_, *optimizer_, position_);
  last_save_ = Clock::now();
  save_seconds_ = seconds_since(start);
}

// At most a hundredth of the time goes into it.
bool Training::save_is_due() const {
  const double wait = std::max(60 * options_.save_minutes, 100 * save_seconds_);
  return options_.save_minutes > 0 && seconds_since(last_save_) >= wait;
}

void Training::save_within_epoch() {
  save(run_.last());
  if (elapsed_before_) save_elapsed(run_, position_.epoch, position_.batch, elapsed());
}

Training::Batch Training::load_batch() const {
  const Index first = position_.batch * config_.batch_size;
  const Index count = std::min<Index>(config_.batch_size, std::ssize(order_) - first);
  Pass pass;
  pass.noise = Random(config_.seed, Purpose::dequantization, static_cast<std::uint32_t>(epoch()));
  pass.examples.assign(order_.begin() + first, order_.begin() + first + count);
  const Random changes(config_.seed, Purpose::augmentation, static_cast<std::uint32_t>(epoch()));
  const Tensor images = to_tensor(images_.train, pass.examples);
  Batch batch{augmentations()[config_.augment].change(images, changes, pass.examples),
              std::move(pass)};
  trace_work("load the batch");
  return batch;
}

void Training::run_step(const Batch& batch) try {
  const StepResult result = training_step(model_, *optimizer_, config_, batch.images, batch.pass,
                                          learning_rate(steps_done() + 1));
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
  row.learning_rate = learning_rate(steps_done());
  row.validation_nll = exact_nll(images_.validation, Split::validation);
  if (!is_best(row.validation_nll)) return row;
  row.test_nll = exact_nll(images_.test, Split::test);
  position_.best_epoch = row.epoch;
  position_.best_nll = row.validation_nll;
  position_.best_test_nll = *row.test_nll;
  save(run_.best());
  return row;
}

// Also when this epoch was found to be the best already, before it was interrupted.
bool Training::is_best(double validation_nll) const {
  return position_.best_epoch == 0 || position_.best_epoch == epoch() ||
         validation_nll < position_.best_nll;
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

// A picture costs a warning, and is no reason to stop: the inverse of a deep model in its youth may
// leave the range of numbers, and files may be in the way.
template <class Action>
void Training::draw(Index epoch, const Action& action) try {
  action();
} catch (const std::exception& error) {
  if (progress_) progress_->clear();
  std::fprintf(stderr, "epoch %lld, a picture is left out: %s\n", static_cast<long long>(epoch),
               printable(error.what()).c_str());
}

// The samples come last: where they are, the others are too.
void Training::save_pictures(Index epoch) {
  std::vector<std::uint32_t> first(std::min<Index>(10, images_.validation.count()));
  std::iota(first.begin(), first.end(), 0u);
  draw(epoch, [&] {
    save_reconstruction(run_.reconstruction(), model_, to_tensor(images_.validation, first));
  });
  const bool comparable = is_comparable(config_, images_);
  draw(epoch, [&] {
    plot_curve(run_.metrics(), run_.curve(), options_.experiment + " on " + images_.name,
               comparable && experiment_.paper_nll
                   ? std::optional(ReferenceLine{*experiment_.paper_nll,
                                                 "paper, converged: " + experiment_.paper})
                   : std::nullopt);
  });
  draw(epoch, [&] { save_filters(run_.filters(), model_); });
  draw(epoch, [&] { save_samples(run_.samples(epoch), model_, {}); });
}

void Training::stop() {
  save_within_epoch();
  progress_->clear();
  std::fprintf(stderr,
               "interrupted in epoch %lld after step %lld and saved; go on with:\n"
               "  %s train %s --data %s --out %s --resume\n",
               static_cast<long long>(epoch()), static_cast<long long>(position_.batch),
               shell_word(options_.program).c_str(), options_.experiment.c_str(),
               shell_word(data_).c_str(), shell_word(options_.out).c_str());
}

}  // namespace

int train(const TrainOptions& options) { return Training(options).run(); }

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/apps/train/loop.h"

#include <chrono>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "backflow/apps/data/purposes.h"
#include "backflow/apps/files/quote.h"
#include "backflow/apps/files/text.h"
#include "backflow/apps/train/interrupt.h"
#include "backflow/apps/train/progress.h"

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

// Thrown out of an evaluation.
struct Interrupted {};

class Loop {
 public:
  Loop(Task& task, const TrainingPlan& plan, const RunDirectory& run, std::optional<RunLock> lock,
       const TrainingStart& start, Ranks& ranks);
  int run();

 private:
  void begin();
  void clear_up();
  void begin_files();
  bool run_epoch();  // false: interrupted
  bool run_steps();
  bool is_interrupted();
  std::vector<std::uint32_t> training_order() const;
  void run_step();
  std::optional<EpochMetrics> evaluate_epoch();  // none: interrupted
  EvaluationWatch watch(const char* what);
  bool is_best(double validation_nll) const;
  template <class Nll>
  double exact(const Nll& nll) const;
  Diverged diverged(const std::string& where, const Diverged& cause) const;
  void draw_missing_pictures();
  void draw_pictures(Index epoch);
  void draw(Index epoch, const std::function<void()>& action);
  void save(const fs::path& checkpoint);
  void save_within_epoch();
  bool save_is_due() const;
  Elapsed elapsed() const;
  void forget_elapsed() const;
  void stop();

  Index epoch() const { return position_.epoch + 1; }  // the one that is running
  Index steps_done() const { return position_.epoch * plan_.steps_per_epoch + position_.batch; }

  Task& task_;
  const TrainingPlan& plan_;
  const RunDirectory& run_;
  std::optional<RunLock> lock_;
  const TrainingStart& start_;
  Ranks& ranks_;
  const bool writes_;  // files; of several ranks only the first one does
  Position position_;
  MetricsTable metrics_;
  TrainingLog log_;
  std::optional<Progress> progress_;
  std::vector<std::uint32_t> order_;  // of the training examples in this epoch
  // This epoch's: what it took before it was interrupted, if that is known, and when it went on.
  std::optional<Elapsed> elapsed_before_ = Elapsed{};
  std::optional<double> step_seconds_;  // that its steps took, once they are done
  Clock::time_point epoch_start_, last_save_ = Clock::now();
  double save_seconds_ = 0;  // that the last checkpoint took to write
  int signal_ = 0;           // that asked one of the ranks to stop
  Profile profile_;
  Index profiled_steps_ = 0;
  double profiled_seconds_ = 0;
};

Loop::Loop(Task& task, const TrainingPlan& plan, const RunDirectory& run,
           std::optional<RunLock> lock, const TrainingStart& start, Ranks& ranks)
    : task_(task),
      plan_(plan),
      run_(run),
      lock_(std::move(lock)),
      start_(start),
      ranks_(ranks),
      writes_(ranks.is_first()),
      position_(start.position),
      metrics_(run.metrics(), position_.epoch),
      log_(plan.quiet || !writes_, plan.columns) {
  if (position_.batch > 0) elapsed_before_ = load_elapsed(run_, position_.epoch, position_.batch);
}

int Loop::run() {
  if (position_.epoch >= plan_.epochs) {
    if (lock_) clear_up();  // it was killed just before its end
    draw_missing_pictures();
    log_.nothing_to_do(run_, plan_.epochs, plan_.can_go_on);
    return 0;
  }
  begin();
  const Interrupt interrupt;
  progress_.emplace(steps_done(), plan_.steps(), plan_.quiet || !writes_);
  bool finished = true;
  while (finished && position_.epoch < plan_.epochs) finished = run_epoch();
  if (finished) {
    log_.say(task_.end(position_));
  } else {
    stop();
  }
  if (plan_.profile && profiled_steps_ > 0 && writes_)
    task_.show_profile(profile_, profiled_steps_, 1000 * profiled_seconds_ / profiled_steps_);
  return finished ? 0 : 128 + signal_;  // the shell's: 130 for Ctrl-C
}

void Loop::clear_up() {
  lock_->begin();
  run_.prepare();
  forget_elapsed();
}

// From here on, files are written.
void Loop::begin() {
  if (writes_) begin_files();
  log_.say(task_.head());
  // A run that was killed just after an epoch's checkpoint lacks its pictures.
  if (position_.batch == 0 && position_.epoch > 0) draw_missing_pictures();
}

void Loop::begin_files() {
  run_.make();
  if (!lock_) lock_.emplace(RunLock::make(run_));
  run_.prepare();
  if (!start_.resumed) run_.refuse_existing();  // which another process may have begun meanwhile
  task_.save_configuration(position_);
  if (start_.unsaved) save(run_.last());
  lock_->begin();
}

bool Loop::run_epoch() {
  epoch_start_ = Clock::now();
  const Index first_step = elapsed_before_ ? 0 : position_.batch;
  order_ = training_order();
  step_seconds_.reset();
  if (!run_steps()) return false;
  step_seconds_ = elapsed().step_seconds;
  const Index steps = plan_.steps_of(epoch()) - first_step;  // that were timed
  std::optional<EpochMetrics> evaluated = evaluate_epoch();
  if (!evaluated) return false;
  EpochMetrics& row = *evaluated;
  row.ms_per_step = steps > 0 ? 1000 * *step_seconds_ / static_cast<double>(steps) : 0;
  row.seconds = elapsed().seconds;
  if (writes_) metrics_.append(row);
  position_.epoch += 1;
  position_.batch = 0;
  position_.objective_sum = position_.reconstruction_sum = 0;
  save(run_.last());
  elapsed_before_ = Elapsed{};
  forget_elapsed();
  draw_pictures(row.epoch);
  progress_->clear();
  log_.row(row, plan_.epochs);
  return true;
}

std::vector<std::uint32_t> Loop::training_order() const {
  const auto n = static_cast<std::uint32_t>(plan_.examples);
  if (plan_.shuffle)
    return Random(plan_.seed, purposes::shuffling, static_cast<std::uint32_t>(epoch()))
        .permutation(n);
  std::vector<std::uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0u);
  return order;
}

// What is left of the epoch. False: interrupted.
bool Loop::run_steps() {
  const auto start = Clock::now();
  std::optional<Profiler> profiler;
  if (plan_.profile) profiler.emplace(profile_);
  bool interrupted = false;
  const Index steps = plan_.steps_of(epoch());
  while (position_.batch < steps && !(interrupted = is_interrupted())) {
    run_step();
    trace_work("end of the step");
    ++profiled_steps_;
    if (save_is_due()) save_within_epoch();
  }
  profiled_seconds_ += seconds_since(start);
  return !interrupted;
}

bool Loop::is_interrupted() {
  signal_ = static_cast<int>(greatest_over_ranks(ranks_, Interrupt::signal_number()));
  return signal_ != 0;
}

void Loop::run_step() try {
  const Index first = plan_.examples > 0 ? position_.batch * plan_.batch_size : 0;
  const Index count = std::min<Index>(plan_.batch_size, std::ssize(order_) - first);
  const StepResult result = task_.step({order_.begin() + first, order_.begin() + first + count},
                                       epoch(), steps_done() + 1);
  position_.objective_sum += result.objective;
  position_.reconstruction_sum += result.reconstruction;
  position_.batch += 1;
  progress_->update(steps_done(), text("epoch %lld  objective %.*f", number(epoch()),
                                       plan_.columns.digits, result.objective));
  if (const std::string news = task_.news(); !news.empty()) {
    progress_->clear();
    log_.say(news);
  }
} catch (const Diverged& cause) {
  throw diverged(", step " + std::to_string(position_.batch + 1), cause);
}

std::optional<EpochMetrics> Loop::evaluate_epoch() try {
  const double steps = static_cast<double>(plan_.steps_of(epoch()));
  EpochMetrics row;
  row.epoch = epoch();
  row.train_objective = position_.objective_sum / steps;
  row.reconstruction_loss = position_.reconstruction_sum / steps;
  row.learning_rate = task_.learning_rate(steps_done());
  row.validation_nll = exact([&] { return task_.validation_nll(watch("validation")); });
  if (!is_best(row.validation_nll)) return row;
  row.test_nll = exact([&] { return task_.test_nll(watch("test")); });
  position_.best_epoch = row.epoch;
  position_.best_nll = row.validation_nll;
  position_.best_test_nll = *row.test_nll;
  save(run_.best());
  return row;
} catch (const Interrupted&) {
  return {};
}

// A signal that comes when all is evaluated waits for the end of the epoch, which is near.
EvaluationWatch Loop::watch(const char* what) {
  return [this, what](Index done, Index all) {
    if (done < all && is_interrupted()) throw Interrupted();
    progress_->update(steps_done(), text("epoch %lld  %s: %lld of %lld", number(epoch()), what,
                                         number(done), number(all)));
  };
}

// Also when this epoch was found to be the best already, before it was interrupted.
bool Loop::is_best(double validation_nll) const {
  return position_.best_epoch == 0 || position_.best_epoch == epoch() ||
         validation_nll < position_.best_nll;
}

template <class Nll>
double Loop::exact(const Nll& nll) const try {
  const double value = nll();
  if (!std::isfinite(value)) throw Diverged("the NLL is not finite");
  return value;
} catch (const Diverged& cause) {
  throw diverged(", evaluation", cause);
}

Diverged Loop::diverged(const std::string& where, const Diverged& cause) const {
  return Diverged(plan_.name + " diverged in epoch " + std::to_string(epoch()) + where + ": " +
                  cause.what() + "; the last good checkpoint is kept: " + run_.last().string());
}

// ---- What is kept -----------------------------------------------------------------------------

// The steps of an epoch come before its evaluation.
Elapsed Loop::elapsed() const {
  const Elapsed before = elapsed_before_.value_or(Elapsed{});
  const double now = seconds_since(epoch_start_);
  return {before.seconds + now, step_seconds_.value_or(before.step_seconds + now)};
}

void Loop::forget_elapsed() const {
  if (!writes_) return;
  std::error_code ignored;
  fs::remove(run_.elapsed(), ignored);
}

void Loop::save(const fs::path& checkpoint) {
  if (!writes_) return;
  const auto start = Clock::now();
  task_.save(checkpoint, position_);
  last_save_ = Clock::now();
  save_seconds_ = seconds_since(start);
}

// At most a hundredth of the time goes into it.
bool Loop::save_is_due() const {
  if (!writes_) return false;
  const double wait = std::max(60 * plan_.save_minutes, 100 * save_seconds_);
  return plan_.save_minutes > 0 && seconds_since(last_save_) >= wait;
}

void Loop::save_within_epoch() {
  save(run_.last());
  if (elapsed_before_ && writes_) save_elapsed(run_, position_.epoch, position_.batch, elapsed());
}

void Loop::stop() {
  save_within_epoch();
  if (!writes_) return;
  progress_->clear();
  std::fprintf(stderr, "interrupted in epoch %lld after step %lld and saved; go on with:\n  %s\n",
               number(epoch()), number(position_.batch), task_.resuming_command().c_str());
}

// ---- What is shown ----------------------------------------------------------------------------

void Loop::draw_missing_pictures() {
  if (!has_file(run_.samples(position_.epoch))) draw_pictures(position_.epoch);
}

void Loop::draw_pictures(Index epoch) {
  if (!writes_) return;
  task_.draw_pictures(epoch, metrics_,
                      [&](const std::function<void()>& action) { draw(epoch, action); });
}

// A picture that fails costs a warning and is no reason to stop: the inverse of a deep model that
// has hardly been trained may leave the range of numbers, and files may be in the way.
void Loop::draw(Index epoch, const std::function<void()>& action) try {
  action();
} catch (const std::exception& error) {
  if (progress_) progress_->clear();
  std::fprintf(stderr, "epoch %lld, a picture is left out: %s\n", number(epoch),
               printable(error.what()).c_str());
}

}  // namespace

int run_training(Task& task, const TrainingPlan& plan, const RunDirectory& run,
                 std::optional<RunLock> lock, const TrainingStart& start, Ranks& ranks) {
  return Loop(task, plan, run, std::move(lock), start, ranks).run();
}

}  // namespace backflow::inline BACKFLOW_PRECISION

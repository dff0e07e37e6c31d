#include "backflow/apps/zoo/training.h"

#include <cmath>
#include <numbers>

#include "backflow/apps/data/purposes.h"
#include "backflow/apps/files/quote.h"
#include "backflow/apps/files/text.h"
#include "backflow/apps/train/loop.h"
#include "backflow/apps/train/resume.h"
#include "backflow/apps/zoo/pictures.h"
#include "backflow/apps/zoo/report.h"
#include "backflow/ops/finite.h"
#include "backflow/ops/global_norm.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace fs = std::filesystem;

static ZooConfig assigned(ZooConfig config, const ZooTrainOptions& options) {
  for (const auto& [key, value] : options.assignments) assign_field(config, key, value);
  options.files.name_in(config);
  return config;
}

ZooConfig find_zoo_config(const ZooTrainOptions& options) {
  std::string target = options.files.given() ? "" : "moons";
  for (const auto& [key, value] : options.assignments)
    if (key == "target") target = value;
  const ZooConfig config = assigned(zoo_defaults(options.flow, target), options);
  validate(config);
  check_zoo_context(config);
  return config;
}

namespace {

constexpr Index pieces = 20;

class ZooTraining : public Task {
 public:
  explicit ZooTraining(const ZooTrainOptions& options);
  ZooTrained run();

  StepResult step(const std::vector<std::uint32_t>&, Index, Index step) override;
  double learning_rate(Index step) const override;
  double validation_nll(const EvaluationWatch& watch) const override {
    return scored([&] { return data_->validation(density_, watch); }).estimate();
  }
  double test_nll(const EvaluationWatch& watch) const override {
    return scored([&] { return data_->test(density_, watch); }).estimate();
  }
  void save(const fs::path& checkpoint, const Position& position) override {
    save_zoo_checkpoint(checkpoint, config_, data_->columns(), density_, optimizer_, position);
  }
  void save_configuration(const Position&) override { save_zoo_config(run_, config_); }
  void draw_pictures(Index epoch, const MetricsTable& metrics, const Draw& draw) override;
  std::string head() const override;
  std::string end(const Position& position) const override;
  std::string resuming_command() const override;
  void show_profile(const Profile&, Index, double) const override {}

 private:
  ZooConfig as_begun() const;
  TrainingPlan plan() const;
  TrainingStart start() const;
  Var loss(Index step) const;
  [[noreturn]] void name_culprit(Index step) const;
  // An inverse that does not converge, or a NaN on its way: the flow's fault, not the user's.
  static ZooScore scored(const auto& score) try { return score(); } catch (const Error& error) {
    throw Diverged(error.what());
  }

  const ZooTrainOptions& options_;
  const RunDirectory run_;
  std::optional<RunLock> lock_;
  const std::optional<Checkpoint> checkpoint_;  // that we go on from
  const ZooConfig config_;
  const std::unique_ptr<ZooData> data_;
  const ZooDensity density_;
  Adam optimizer_;
};

// runs/zoo/maf-moons, and of a table its name without .csv.
fs::path directory_of(const ZooTrainOptions& options) {
  if (!options.out.empty()) return options.out;
  const ZooConfig config = find_zoo_config(options);
  const std::string what =
      config.target.empty() ? fs::path(config.data).stem().string() : config.target;
  return fs::path("runs") / "zoo" / (config.flow + "-" + what);
}

ZooTraining::ZooTraining(const ZooTrainOptions& options)
    : options_(options),
      run_{directory_of(options)},
      lock_(RunLock::of_existing(run_)),
      checkpoint_(find_checkpoint(run_, options.resume, zoo_experiment(options.flow))),
      config_(checkpoint_ ? as_begun() : find_zoo_config(options)),
      data_(load_zoo_data(config_)),
      density_(config_, data_->dimensions(), data_->contexts()),
      optimizer_(density_.parameters()) {}

// A run that goes on has the configuration that it began with; only its files may be elsewhere.
ZooConfig ZooTraining::as_begun() const {
  const ZooConfig begun = zoo_config_of(*checkpoint_);
  ZooConfig config = begun;
  for (const auto& [key, value] : options_.assignments) {
    assign_field(config, key, value);
    const std::string was = field_as_text(begun, key), is = field_as_text(config, key);
    if (was != is)
      fail(key, "this run began with ", was, ", --resume asks for ", is,
           "; leave it out, or begin a new run with another --out");
  }
  if (options_.files.given()) {
    options_.files.name_in(config);
  } else if (config.target.empty()) {
    find_files(run_, config);
  }
  validate(config);
  return config;
}

TrainingPlan ZooTraining::plan() const {
  const Index piece = (config_.steps + pieces - 1) / pieces;
  return {.name = config_.flow,
          .epochs = (config_.steps + piece - 1) / piece,
          .steps_per_epoch = piece,
          .last_steps = (config_.steps - 1) % piece + 1,
          .batch_size = config_.batch_size,
          .shuffle = false,
          .seed = config_.seed,
          .can_go_on = false,  // the learning rates follow from the number of steps
          .save_minutes = options_.save_minutes,
          .quiet = options_.quiet,
          .columns = {.objective = "training loss", .digits = 4, .reconstruction = false}};
}

TrainingStart ZooTraining::start() const {
  TrainingStart start;
  const auto [train, validation, test] = data_->checksums();
  if (!checkpoint_) {
    start.position.data_checksum = train;
    start.position.validation_checksum = validation;
    start.position.test_checksum = test;
    return start;
  }
  const Index epoch = position_of(*checkpoint_).epoch + 1;
  start.position = position_in(*checkpoint_, plan().steps_of(epoch));
  check_same_data(*data_, start.position);
  start.resumed = true;
  start.unsaved = checkpoint_->name != run_.last().string();
  return start;
}

ZooTrained ZooTraining::run() {
  const TrainingStart begin = start();
  if (checkpoint_) {
    restore_zoo(density_, *checkpoint_);
    restore(optimizer_, *checkpoint_);
    warn_of_another_kernel(*checkpoint_);
  }
  ZooTrained trained{run_training(*this, plan(), run_, std::move(lock_), begin), run_.root, {}};
  if (trained.code != 0) return trained;
  const Checkpoint best = load_checkpoint(run_.best(), zoo_experiment(config_.flow));
  restore_zoo(density_, best);
  trained.score = scored([&] { return data_->report(density_); });
  if (!std::isfinite(trained.score->nll)) throw Diverged("the NLL is not finite");
  if (!options_.quiet) std::fputs(in_words(*trained.score, *data_).c_str(), stdout);
  return trained;
}

// ---- A step -------------------------------------------------------------------------------------

// Rises linearly, then falls to 0 along a cosine.
double ZooTraining::learning_rate(Index step) const {
  const auto at = static_cast<double>(step - 1), all = static_cast<double>(config_.steps);
  const auto warmup = static_cast<double>(config_.warmup_steps);
  if (at < warmup) return config_.lr * (at + 1) / warmup;
  const double done = (at - warmup) / std::max(1.0, all - warmup);
  return config_.lr * (1 + std::cos(std::numbers::pi * done)) / 2;
}

Var ZooTraining::loss(Index step) const {
  Pass pass;
  pass.mode = Mode::train;
  pass.noise = Random(static_cast<std::uint64_t>(config_.seed), purposes::dequantization,
                      static_cast<std::uint32_t>(step));
  return data_->loss(density_, step, pass);
}

// Runs the failed step once more and watches every value.
void ZooTraining::name_culprit(Index step) const {
  FirstNonFinite watch;
  backward(loss(step));
  if (watch.found()) throw Diverged(*watch.found() + " is not finite");
  throw Diverged("the gradient's norm is not finite");
}

StepResult ZooTraining::step(const std::vector<std::uint32_t>&, Index, Index step) try {
  const Var value = loss(step);
  const Gradients gradients = backward(value);
  const double norm = global_norm(gradients, density_.parameters());
  if (!std::isfinite(norm + value.item())) name_culprit(step);
  const bool clip = config_.max_grad_norm > 0 && norm > config_.max_grad_norm;
  optimizer_.step(gradients, learning_rate(step), clip ? config_.max_grad_norm / norm : 1);
  return {value.item(), 0};
} catch (const Diverged&) {
  throw;
} catch (const Error& cause) {
  throw Diverged(cause.what());
}

// ---- What is shown ------------------------------------------------------------------------------

void ZooTraining::draw_pictures(Index epoch, const MetricsTable& metrics, const Draw& draw) {
  const ZooPictures pictures{run_, config_, *data_, density_};
  const TrainingPlan all = plan();
  if (epoch == all.epochs) {
    draw([&] { pictures.save_map(run_.density()); });
    draw([&] { pictures.save_bent_grid(run_.grid()); });
  }
  if (epoch % 5 == 0 || epoch == all.epochs) {
    draw([&] { pictures.save_curve(metrics, all); });
    draw([&] { pictures.save_samples(epoch); });
  }
}

std::string ZooTraining::head() const {
  const TrainingPlan all = plan();
  return text("%s: %lld layers, %lld parameters\n", config_.flow.c_str(), number(config_.layers),
              number(parameter_count(density_))) +
         data_->description() + "\n" +
         text("%lld steps of %lld examples, evaluated every %lld\n", number(config_.steps),
              number(config_.batch_size), number(all.steps_per_epoch)) +
         (data_->bound() ? "NLLs are " + data_->bound_name() +
                               " and the KL of 4000 samples, which has less noise\n"
                         : "") +
         "run directory: " + printable(run_.root.string()) + "\n\n" +
         TrainingLog::names(all.columns);
}

std::string ZooTraining::end(const Position& position) const {
  return text("\nbest: epoch %lld; checkpoint: %s\n", number(position.best_epoch),
              printable(run_.best().string()).c_str());
}

std::string ZooTraining::resuming_command() const {
  return shell_word(options_.program) + " train " + config_.flow + " --out " +
         shell_word(run_.root.string()) + " --resume";
}

}  // namespace

ZooTrained train_zoo(const ZooTrainOptions& options) { return ZooTraining(options).run(); }

}  // namespace backflow::inline BACKFLOW_PRECISION

// The training loop: epochs of steps, an exact evaluation after each, and a run directory from
// which it can always go on with the same bits. It knows no images and no model: a Task does.
#pragma once

#include <functional>

#include "backflow/apps/model/training_state.h"
#include "backflow/apps/train/evaluation_watch.h"
#include "backflow/apps/train/profile.h"
#include "backflow/apps/train/ranks.h"
#include "backflow/apps/train/run_directory.h"
#include "backflow/apps/train/step.h"
#include "backflow/apps/train/training_log.h"

namespace backflow::inline BACKFLOW_PRECISION {

// How long a run is, and in which order it meets the training examples.
struct TrainingPlan {
  std::string name;  // what is trained, for messages
  Index epochs = 0, steps_per_epoch = 0;
  Index last_steps = 0;                // of the last epoch, where it is shorter; 0: it is not
  Index examples = 0, batch_size = 0;  // examples 0: the task knows by itself what a step takes

  bool shuffle = true;  // a new random order in each epoch
  Index seed = 0;
  bool can_go_on = true;    // more epochs may be asked for when these are over
  double save_minutes = 5;  // a checkpoint within an epoch after so long; 0: none
  bool quiet = false;       // nothing on stdout, no progress bar
  bool profile = false;     // at the end, what each op of the training steps cost
  LogColumns columns = {};

  Index steps_of(Index epoch) const {  // from 1
    return epoch == epochs && last_steps > 0 ? last_steps : steps_per_epoch;
  }
  Index steps() const { return (epochs - 1) * steps_per_epoch + steps_of(epochs); }
};

// What is trained and on what, and how it is kept and shown.
class Task {
 public:
  virtual ~Task() = default;

  // Trains on these examples; `step` is its number in the run, from 1. Throws Diverged when a value
  // is not finite, or a matrix singular; another Error is the fault of the data.
  virtual StepResult step(const std::vector<std::uint32_t>& examples, Index epoch, Index step) = 0;
  virtual double learning_rate(Index step) const = 0;
  // A line for the log that the last step gave rise to; empty: none.
  virtual std::string news() { return ""; }

  // Exact, nats per example; or where that cannot be, an unbiased estimate, from the same random
  // numbers in each epoch. The loop asks for the test NLL where the validation NLL is the best.
  virtual double validation_nll(const EvaluationWatch& watch) const = 0;
  virtual double test_nll(const EvaluationWatch& watch) const = 0;

  virtual void save(const std::filesystem::path& checkpoint, const Position& position) = 0;
  virtual void save_configuration(const Position& position) = 0;

  // Calls draw(action) for each picture of an epoch that is over; an action may throw. The picture
  // that the run directory calls samples(epoch) comes last: where it is, the others are too.
  using Draw = std::function<void(const std::function<void()>& action)>;
  virtual void draw_pictures(Index epoch, const MetricsTable& metrics, const Draw& draw) = 0;

  // What the log says before the table of epochs, with the table's first words; what it says after
  // the last epoch; and the command that goes on with an interrupted run.
  virtual std::string head() const = 0;
  virtual std::string end(const Position& position) const = 0;
  virtual std::string resuming_command() const = 0;

  // Where the plan asks for a profile: what each op of the training steps cost.
  virtual void show_profile(const Profile& profile, Index steps, double ms_per_step) const = 0;
};

// Where a run begins, or goes on.
struct TrainingStart {
  Position position;
  bool resumed = false;
  // The checkpoint of this position is not the last one of the run directory, or says less.
  bool unsaved = true;
};

// Trains until the end of the plan, or until a signal (SIGINT, SIGTERM, SIGHUP) asks it to stop,
// between two steps or two batches of an evaluation, which is then begun anew when the run goes on;
// and returns 0, or 128 + the signal's number when all was saved. The lock is that of the run
// directory, if there is one already. A picture or a line of the log that fails is a warning; a row
// of the metrics or a checkpoint that cannot be written is an Error, and the last good checkpoint
// stays. Throws Diverged, with epoch, step and cause.
//
// Several ranks train one model together; the task shares out its steps and likelihoods among them.
// Only the first one writes files and speaks; a signal to any of them stops all, at the same place.
int run_training(Task& task, const TrainingPlan& plan, const RunDirectory& run,
                 std::optional<RunLock> lock, const TrainingStart& start,
                 Ranks& ranks = one_rank());

}  // namespace backflow::inline BACKFLOW_PRECISION

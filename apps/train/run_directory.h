// The files of one training run, and its table of epochs.
//
//   config.json                     everything needed to repeat the run
//   metrics.csv                     one row per epoch
//   checkpoints/last.safetensors    to go on from
//   checkpoints/best.safetensors    the best validation NLL so far
//   samples/epoch_NNN.png           from the same noise in every epoch
//   reconstruction.png              input, inverse, difference
//   filters/layer_NN.png            kernels of self-normalizing convolutions
//   curve.png                       NLL against epochs
//   density.png                     in the plane: the learned density beside the true one
//   grid.png                        in the plane: where the grid of the base goes
//   elapsed.json                    time that the unfinished epoch has taken so far
//   lock                            while a process trains here; locked, its number is in it
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backflow/apps/model/fields.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct RunDirectory {
  std::filesystem::path root;

  std::filesystem::path config() const { return root / "config.json"; }
  std::filesystem::path metrics() const { return root / "metrics.csv"; }
  std::filesystem::path last() const { return root / "checkpoints" / "last.safetensors"; }
  std::filesystem::path best() const { return root / "checkpoints" / "best.safetensors"; }
  std::filesystem::path samples(Index epoch) const;  // epoch_007.png
  std::filesystem::path reconstruction() const { return root / "reconstruction.png"; }
  std::filesystem::path filters() const { return root / "filters"; }
  std::filesystem::path curve() const { return root / "curve.png"; }
  std::filesystem::path density() const { return root / "density.png"; }
  std::filesystem::path grid() const { return root / "grid.png"; }
  std::filesystem::path elapsed() const { return root / "elapsed.json"; }
  std::filesystem::path lock() const { return root / "lock"; }

  // Fails if there is a checkpoint.
  void refuse_existing() const;
  // Makes the directories. Throws an Error that names this one and the reason.
  void make() const;
  // Also removes what an interrupted write left behind: of this process's, so it holds the lock.
  void prepare() const;
};

// That one process trains in a directory. The kernel frees it with the process, however that ends;
// the file stays behind only if the process was killed. On a file system that cannot lock files,
// nobody is kept out.
class RunLock {
 public:
  // Takes the lock that a process which trained here has left, and changes nothing; no lock where
  // there is none. Throws an Error that names the process which trains there.
  static std::optional<RunLock> of_existing(const RunDirectory& run);
  // In any case. The directory exists.
  static RunLock make(const RunDirectory& run);

  RunLock(RunLock&& other) noexcept;
  RunLock& operator=(RunLock&&) = delete;
  ~RunLock();

  // The run begins: this process's number is written, for the message above, and the file will be
  // removed in the end.
  void begin();

 private:
  RunLock(std::filesystem::path path, int descriptor)
      : path_(std::move(path)), descriptor_(descriptor) {}
  static std::optional<RunLock> open(const RunDirectory& run, int flags);
  bool is_of_the_file() const;

  std::filesystem::path path_;
  int descriptor_;
  bool begun_ = false;
};

// What config.json says beside the configuration. Both are the user's to read, no more: whatever
// decides over the outcome of a run is in its checkpoints.
struct RunNotes {
  std::filesystem::path data;            // where the data are, from the directory
  std::filesystem::path directory = {};  // in which the program was called; absolute
  // "0.0001 from the start, 0.0005 since epoch 4": where --resume changed it.
  std::string learning_rates = {};

  std::vector<std::pair<std::string, std::string>> members() const;
};

// The text of config.json.
void save_configuration(const RunDirectory& run, const std::string& json);
std::string load_configuration(const RunDirectory& run);

// `config` is any of apps/model/fields.h.
template <class Configuration>
void save_config(const RunDirectory& run, const Configuration& config, const RunNotes& notes) {
  save_configuration(run, to_json(config, notes.members()));
}
template <class Configuration>
Configuration load_config(const RunDirectory& run) {
  return from_json<Configuration>(run.config().string(), load_configuration(run));
}
// Empty where the file says nothing, or is not there.
RunNotes load_notes(const RunDirectory& run);
// The data's directory of a run, if it is still there.
std::optional<std::filesystem::path> data_of(const RunNotes& notes);

// The time that an epoch's first steps took, in a file beside the checkpoint that was saved after
// them: equal runs make equal checkpoints. None where the file is of other steps, or missing.
struct Elapsed {
  double seconds = 0;       // since the epoch began, without breaks
  double step_seconds = 0;  // of that, in its steps
};
void save_elapsed(const RunDirectory& run, Index epoch, Index batch, const Elapsed& elapsed);
std::optional<Elapsed> load_elapsed(const RunDirectory& run, Index epoch, Index batch);

struct EpochMetrics {
  Index epoch = 0;                 // from 1
  double train_objective = 0;      // mean over the epoch's steps, nats per image
  double reconstruction_loss = 0;  // the same, summed over layers
  double validation_nll = 0;       // exact, nats per image
  std::optional<double> test_nll;  // only where the validation NLL is the best so far
  double learning_rate = 0;        // of the last step
  double ms_per_step = 0;
  double seconds = 0;  // of the epoch, evaluation included
};

// metrics.csv, written whole after each row: never half a row, and on disk when append() returns.
class MetricsTable {
 public:
  // Goes on after epoch `last_epoch`: later rows of an existing table are dropped, for they are
  // newer than the checkpoint, and so is half a row at its end. 0: a new table. Nothing is written
  // before the first append(). Throws an Error naming the line that is no row of such a table.
  MetricsTable(std::filesystem::path path, Index last_epoch);
  void append(const EpochMetrics& row);
  const std::vector<EpochMetrics>& rows() const { return rows_; }

 private:
  std::filesystem::path path_;
  std::string text_;
  std::vector<EpochMetrics> rows_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

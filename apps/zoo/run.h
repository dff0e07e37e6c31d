// A run of the zoo on disk: what its checkpoints hold, and how it is opened again.
#pragma once

#include "backflow/apps/model/training_state.h"
#include "backflow/apps/train/run_directory.h"
#include "backflow/apps/zoo/data.h"
#include "backflow/apps/zoo/flows.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The files of a table, as the command line has them: one, or three; or none.
struct TableFiles {
  std::filesystem::path data, train, validation, test;

  bool given() const {
    return !data.empty() || !train.empty() || !validation.empty() || !test.empty();
  }
  // Writes them into the configuration. Fails for some of the three, and for one and three.
  void name_in(ZooConfig& config) const;
};

// The density of a configuration, with its parameters.
class ZooDensity : public Density {
 public:
  ZooDensity(const ZooConfig& config, Index dimensions, Index contexts)
      : ZooDensity(make_zoo_model(config, dimensions, contexts), dimensions) {}

  const Flow& flow() const { return *parts_.flow; }

 private:
  ZooDensity(ZooModel parts, Index dimensions)
      : Density(*parts.flow, Shape{dimensions}, *parts.base), parts_(std::move(parts)) {}

  ZooModel parts_;
};

// What a checkpoint says of its maker, by which those of one flow are not taken for another's.
std::string zoo_experiment(const std::string& flow);  // "zoo maf"
// In a checkpoint the files have no directory: equal runs make equal files, wherever their data
// are. The columns are a table's, or null.
void save_zoo_checkpoint(const std::filesystem::path& path, const ZooConfig& config,
                         const TableColumns* columns, const Density& density, Optimizer& optimizer,
                         const Position& position);
// Fails, naming the file, for what is no checkpoint of this program.
ZooConfig zoo_config_of(const Checkpoint& checkpoint);

// The parameters, as restore() of apps/model/training_state.h.
void restore_zoo(const Density& density, const Checkpoint& checkpoint);

// config.json: the configuration, and where the program was called.
void save_zoo_config(const RunDirectory& run, const ZooConfig& config);
// The files of a run's table: as its config.json has them, from where it was trained, if they are
// still there.
void find_files(const RunDirectory& run, ZooConfig& config);

// A run whose best density is looked at.
class ZooRun {
 public:
  // Reads the best checkpoint, or the last one, with a warning, where there is no best one yet.
  // Fails, naming the directory, where there is none.
  ZooRun(const std::filesystem::path& directory, const TableFiles& files);

  const ZooConfig& config() const { return config_; }
  const Density& density() const { return *density_; }
  // Reads the table, and fails if it is not that of the run.
  const ZooData& data() const;
  // A table's, known without its data; or null.
  const TableColumns* columns() const { return columns_ ? &*columns_ : nullptr; }
  std::string name() const;  // "maf on moons"
  // n examples, and what they were given.
  ZooExamples sample(Index n, std::uint64_t seed) const;

 private:
  RunDirectory run_;
  Checkpoint checkpoint_;
  ZooConfig config_;
  std::optional<TableColumns> columns_;
  std::unique_ptr<ZooDensity> density_;
  mutable std::unique_ptr<ZooData> data_;
};

// Fails, naming the data, if they are not those of this position.
void check_same_data(const ZooData& data, const Position& position);

}  // namespace backflow::inline BACKFLOW_PRECISION

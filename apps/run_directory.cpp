#include "apps/run_directory.h"

#include <cstdio>
#include <set>
#include <sstream>

#include "apps/io/atomic_file.h"
#include "apps/numbers.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace fs = std::filesystem;

static constexpr const char* csv_header =
    "epoch,train_objective,reconstruction_loss,validation_nll,test_nll,learning_rate,ms_per_step,"
    "seconds\n";

fs::path RunDirectory::samples(Index epoch) const {
  char name[32];
  std::snprintf(name, sizeof name, "epoch_%03lld.png", static_cast<long long>(epoch));
  return root / "samples" / name;
}

// One of our files in the making, that an interrupted write left behind: "last.safetensors.tmp".
static bool is_leftover(const fs::path& file) {
  static const std::set<std::string> ours{"config.json",        "metrics.csv",
                                          "last.safetensors",   "best.safetensors",
                                          "reconstruction.png", "curve.png"};
  const std::string name = file.stem();
  return file.extension().string().starts_with(".tmp") &&
         (ours.contains(name) || name.starts_with("epoch_") || name.starts_with("layer_"));
}

void RunDirectory::prepare() const {
  std::error_code error;
  for (const char* part : {"checkpoints", "samples"}) {
    fs::create_directories(root / part, error);
    if (error)
      fail(root.string(), "cannot make the run directory: ", error.message(),
           "; choose another with --out");
  }
  for (const fs::path& directory : {root, root / "checkpoints", root / "samples", filters()})
    for (const auto& entry : fs::directory_iterator(directory, error))
      if (is_leftover(entry.path())) fs::remove(entry.path(), error);
}

void save_config(const RunDirectory& run, const Config& config, const fs::path& data) {
  write_file_atomically(run.config(), to_json(config, {{"data", data.string()}}));
}

Config load_config(const RunDirectory& run) {
  return config_from_json(run.config().string(), read_file(run.config()));
}

MetricsTable::MetricsTable(fs::path path, Index last_epoch)
    : path_(std::move(path)), text_(csv_header) {
  std::error_code ignored;
  if (last_epoch == 0 || !fs::exists(path_, ignored)) return;
  std::istringstream lines(read_file(path_));
  for (std::string line; std::getline(lines, line) && !lines.eof();) {  // at its end: half a row
    const auto epoch = to_number<Index>(std::string_view(line).substr(0, line.find(',')));
    if (epoch && *epoch >= 1 && *epoch <= last_epoch) text_ += line + "\n";
  }
}

void MetricsTable::append(const EpochMetrics& row) {
  char test_nll[32] = "", line[256];
  if (row.test_nll) std::snprintf(test_nll, sizeof test_nll, "%.4f", *row.test_nll);
  std::snprintf(line, sizeof line, "%lld,%.4f,%.6g,%.4f,%s,%.6g,%.3f,%.2f\n",
                static_cast<long long>(row.epoch), row.train_objective, row.reconstruction_loss,
                row.validation_nll, test_nll, row.learning_rate, row.ms_per_step, row.seconds);
  text_ += line;
  write_file_atomically(path_, text_);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

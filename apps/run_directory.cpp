#include "apps/run_directory.h"

#include <charconv>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <sstream>

#include "apps/io/atomic_file.h"

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

void RunDirectory::prepare() const {
  std::error_code error;
  for (const char* part : {"checkpoints", "samples"}) {
    fs::create_directories(root / part, error);
    if (error)
      fail(root.string(), "cannot make the run directory: ", error.message(),
           "; choose another with --out");
  }
  for (const fs::path& directory : {root, root / "checkpoints", root / "samples"})
    for (const auto& entry : fs::directory_iterator(directory, error))
      if (entry.path().filename().string().find(".tmp") != std::string::npos)
        fs::remove(entry.path(), error);
}

void save_config(const RunDirectory& run, const Config& config, const fs::path& data) {
  auto json = to_json(config);
  json["data"] = data.string();
  write_file_atomically(run.config(), json.dump(2) + "\n");
}

Config load_config(const RunDirectory& run) {
  const auto json = nlohmann::ordered_json::parse(read_file(run.config()), nullptr, false);
  if (!json.is_object())
    fail(run.config().string(), "damaged: not a JSON object; expected the run's configuration");
  return config_from_json(run.config().string(), json);
}

MetricsTable::MetricsTable(fs::path path, Index last_epoch)
    : path_(std::move(path)), text_(csv_header) {
  std::error_code ignored;
  if (last_epoch == 0 || !fs::exists(path_, ignored)) return;
  std::istringstream lines(read_file(path_));
  for (std::string line; std::getline(lines, line);) {
    Index epoch = 0;
    std::from_chars(line.data(), line.data() + line.size(), epoch);
    if (epoch >= 1 && epoch <= last_epoch) text_ += line + "\n";
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

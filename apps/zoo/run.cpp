#include "backflow/apps/zoo/run.h"

#include <cstdio>

#include "backflow/apps/data/purposes.h"
#include "backflow/apps/files/quote.h"
#include "backflow/ops/shape.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace fs = std::filesystem;

static constexpr const char* columns_key = "columns";

void TableFiles::name_in(ZooConfig& config) const {
  if (!given()) return;
  const bool some = !train.empty() || !validation.empty() || !test.empty();
  const bool all = !train.empty() && !validation.empty() && !test.empty();
  if (!data.empty() && some)
    fail("--data", "is one file for all; leave it out, or --train, --validation and --test");
  if (some && !all) fail("--train", "expected together with --validation and --test");
  config.data = some ? train : data;
  config.validation = validation;
  config.test = test;
}

std::string zoo_experiment(const std::string& flow) { return "zoo " + flow; }

void save_zoo_checkpoint(const fs::path& path, const ZooConfig& config, const TableColumns* columns,
                         const Density& density, Optimizer& optimizer, const Position& position) {
  ZooConfig anywhere = config;
  for (std::string* file : {&anywhere.data, &anywhere.validation, &anywhere.test})
    *file = fs::path(*file).filename();
  std::map<std::string, std::string> metadata{{"experiment", zoo_experiment(config.flow)},
                                              {"config", to_json(anywhere)}};
  if (columns) metadata[columns_key] = to_text(*columns);
  save_training(path, std::move(metadata), density, optimizer, position);
}

ZooConfig zoo_config_of(const Checkpoint& checkpoint) {
  const auto& metadata = checkpoint.file.metadata();
  const auto maker = metadata.find("experiment"), text = metadata.find("config");
  if (maker == metadata.end() || text == metadata.end() || !maker->second.starts_with("zoo "))
    fail(checkpoint.name, "this is no checkpoint of the program zoo",
         maker == metadata.end() ? "" : ", but of " + quote(maker->second, '\''));
  return from_json<ZooConfig>(checkpoint.name, text->second);
}

void restore_zoo(const Density& density, const Checkpoint& checkpoint) {
  Leniency leniency;
  leniency.unknown = "which this flow does not have; is it another's?";
  restore(density, checkpoint, leniency);
}

static constexpr const char* directory_key = "working_directory";

void save_zoo_config(const RunDirectory& run, const ZooConfig& config) {
  std::error_code ignored;
  save_configuration(run, to_json(config, {{directory_key, fs::current_path(ignored).string()}}));
}

void find_files(const RunDirectory& run, ZooConfig& config) {
  const ZooConfig as_begun = load_config<ZooConfig>(run);
  const fs::path directory = members_of_json(load_configuration(run))[directory_key];
  const auto found = [&](const std::string& file) -> std::string {
    std::error_code ignored;
    const fs::path there = directory / file;
    const bool elsewhere = !directory.empty() && fs::current_path(ignored) != directory;
    return !file.empty() && elsewhere && fs::exists(there, ignored) ? there.string() : file;
  };
  config.data = found(as_begun.data);
  config.validation = found(as_begun.validation);
  config.test = found(as_begun.test);
}

void check_same_data(const ZooData& data, const Position& position) {
  const auto [train, validation, test] = data.checksums();
  if (position.data_checksum != train || position.validation_checksum.value_or(0) != validation ||
      position.test_checksum.value_or(0) != test)
    fail(data.name(), "not the table that this run began with; name that with --data");
}

static Checkpoint open_checkpoint(const RunDirectory& run) {
  std::error_code ignored;
  if (!fs::exists(run.root, ignored))
    fail(run.root.string(), "no such run directory; 'zoo train' makes them");
  if (fs::exists(run.best(), ignored)) return {run.best().string(), SafetensorsFile(run.best())};
  if (!fs::exists(run.last(), ignored))
    fail(run.root.string(), "holds no run: there is no checkpoint in it");
  std::fprintf(stderr, "%s: no evaluation is over yet: this is the last checkpoint\n",
               printable(run.root.string()).c_str());
  return {run.last().string(), SafetensorsFile(run.last())};
}

ZooRun::ZooRun(const fs::path& directory, const TableFiles& files)
    : run_{directory}, checkpoint_(open_checkpoint(run_)), config_(zoo_config_of(checkpoint_)) {
  Index dimensions = 2, contexts = 0;
  if (config_.target.empty()) {
    const auto text = checkpoint_.file.metadata().find(columns_key);
    if (text == checkpoint_.file.metadata().end())
      fail(checkpoint_.name, "its columns are missing: this file is damaged");
    columns_ = table_columns_from_text(checkpoint_.name, text->second);
    dimensions = columns_->dimensions();
    contexts = columns_->contexts();
    if (files.given())
      files.name_in(config_);
    else
      find_files(run_, config_);
  } else {
    if (files.given())
      fail("--data", "this run learned the target ", config_.target, "; leave it out");
    if (!config_.context.empty()) contexts = targets()[config_.target].labels;
  }
  density_ = std::make_unique<ZooDensity>(config_, dimensions, contexts);
  restore_zoo(*density_, checkpoint_);
}

const ZooData& ZooRun::data() const {
  if (!data_) {
    data_ = load_zoo_data(config_);
    check_same_data(*data_, position_of(checkpoint_));
  }
  return *data_;
}

std::string ZooRun::name() const {
  return config_.flow + " on " +
         (columns_ ? printable(fs::path(config_.data).filename().string()) : config_.target);
}

ZooExamples ZooRun::sample(Index n, std::uint64_t seed) const {
  constexpr Index batch = 10'000;
  const Random random(seed, purposes::sampling);
  std::vector<Tensor> x, contexts;
  for (Index begin = 0; begin < n; begin += batch) {
    const Index count = std::min(batch, n - begin);
    const auto place = static_cast<std::uint32_t>(begin);
    Pass pass;
    if (density_->flow().context() > 0) {
      contexts.push_back(data().draw_contexts(count, random.stream(place + 1)));
      pass.context = Var(contexts.back());
    }
    x.push_back(density_->sample(count, random.stream(place), 1, pass));
  }
  return {concat(x, 0), contexts.empty() ? Tensor() : concat(contexts, 0)};
}

}  // namespace backflow::inline BACKFLOW_PRECISION

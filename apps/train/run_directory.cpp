#include "backflow/apps/train/run_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>
#include <thread>
#include <tuple>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/apps/files/numbers.h"
#include "backflow/apps/files/quote.h"
#include "backflow/apps/files/text.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace fs = std::filesystem;

static constexpr const char* csv_header =
    "epoch,train_objective,reconstruction_loss,validation_nll,test_nll,learning_rate,ms_per_step,"
    "seconds\n";

fs::path RunDirectory::samples(Index epoch) const {
  return root / "samples" / text("epoch_%03lld.png", number(epoch));
}

// One of our files in the making, that an interrupted write left behind: "last.safetensors.tmp".
static bool is_leftover(const fs::path& file) {
  static const std::set<std::string> ours{
      "config.json", "metrics.csv", "last.safetensors", "best.safetensors", "reconstruction.png",
      "curve.png",   "density.png", "grid.png",         "elapsed.json"};
  const std::string name = file.stem();
  return file.extension().string().starts_with(".tmp") &&
         (ours.contains(name) || name.starts_with("epoch_") || name.starts_with("layer_"));
}

void RunDirectory::refuse_existing() const {
  std::error_code ignored;
  if (fs::exists(last(), ignored) || fs::exists(best(), ignored))
    fail(root.string(), "holds a run already; go on with --resume, or choose another --out");
}

void RunDirectory::make() const {
  std::error_code error;
  for (const char* part : {"checkpoints", "samples"}) {
    fs::create_directories(root / part, error);
    if (error)
      fail(root.string(), "cannot make the run directory: ", error.message(),
           "; choose another with --out");
  }
}

void RunDirectory::prepare() const {
  make();
  std::error_code error;
  for (const fs::path& directory : {root, root / "checkpoints", root / "samples", filters()})
    for (const auto& entry : fs::directory_iterator(directory, error))
      if (is_leftover(entry.path())) fs::remove(entry.path(), error);
}

// ---- The lock ---------------------------------------------------------------------------------

RunLock::RunLock(RunLock&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      begun_(std::exchange(other.begun_, false)) {}

RunLock::~RunLock() {
  if (begun_) unlink(path_.c_str());
  if (descriptor_ >= 0) close(descriptor_);
}

// "process 1234", while there is one of the number in the file.
static std::string holder(const fs::path& lock) {
  pid_t number = 0;
  std::string contents;
  try {
    contents = read_file(lock, 4096);
  } catch (const Error&) {  // removed in this moment
  }
  std::from_chars(contents.data(), contents.data() + contents.size(), number);
  const bool lives = number > 0 && (kill(number, 0) == 0 || errno == EPERM);
  return lives ? "process " + std::to_string(number) : "another process";
}

// False if the one who held it has removed it meanwhile: then others lock another file.
bool RunLock::is_of_the_file() const {
  struct stat opened, named;
  return fstat(descriptor_, &opened) == 0 && stat(path_.c_str(), &named) == 0 &&
         opened.st_dev == named.st_dev && opened.st_ino == named.st_ino;
}

// Whether another process holds the lock, and goes on holding it. A killed one leaves it a moment
// later than its parent hears of its end: it may have been starting a child, which has the lock
// open as well until it becomes another program.
static bool is_held(int descriptor) {
  constexpr auto patience = std::chrono::milliseconds(500), pause = std::chrono::milliseconds(20);
  for (auto waited = pause; flock(descriptor, LOCK_EX | LOCK_NB) != 0; waited += pause) {
    if (errno != EWOULDBLOCK) return false;  // a file system without locks
    if (waited > patience) return true;
    std::this_thread::sleep_for(pause);
  }
  return false;
}

// Nothing if there is no file, and it was not to be created.
std::optional<RunLock> RunLock::open(const RunDirectory& run, int flags) {
  for (;;) {
    RunLock lock(run.lock(), ::open(run.lock().c_str(), O_RDWR | O_CLOEXEC | flags, 0666));
    if (lock.descriptor_ < 0) return {};
    if (is_held(lock.descriptor_))
      fail(run.root.string(), holder(run.lock()),
           " is training here; wait for it, stop it, or choose another directory with --out");
    if (lock.is_of_the_file()) return lock;
  }
}

std::optional<RunLock> RunLock::of_existing(const RunDirectory& run) { return open(run, 0); }

RunLock RunLock::make(const RunDirectory& run) {
  std::optional<RunLock> lock = open(run, O_CREAT);
  if (!lock)
    fail(run.lock().string(), "cannot write: ", std::system_category().message(errno),
         "; choose another directory with --out");
  return std::move(*lock);
}

// If it cannot be written, a message knows less: nothing else depends on it.
void RunLock::begin() {
  const std::string number = std::to_string(getpid()) + "\n";
  std::ignore = ftruncate(descriptor_, 0);
  std::ignore = pwrite(descriptor_, number.data(), number.size(), 0);
  begun_ = true;
}

// ---- Configuration and elapsed time -----------------------------------------------------------

static constexpr std::uint64_t most_json = 1 << 20;

static constexpr const char* data_key = "data";
static constexpr const char* directory_key = "working_directory";
static constexpr const char* learning_rates_key = "learning_rates";

std::vector<std::pair<std::string, std::string>> RunNotes::members() const {
  std::vector<std::pair<std::string, std::string>> all{{data_key, data.string()},
                                                       {directory_key, directory.string()}};
  if (!learning_rates.empty()) all.emplace_back(learning_rates_key, learning_rates);
  return all;
}

void save_configuration(const RunDirectory& run, const std::string& json) {
  write_file_atomically(run.config(), json);
}

std::string load_configuration(const RunDirectory& run) {
  return read_file(run.config(), most_json);
}

RunNotes load_notes(const RunDirectory& run) try {
  auto members = members_of_json(read_file(run.config(), most_json));
  return {members[data_key], members[directory_key], members[learning_rates_key]};
} catch (const Error&) {
  return {};
}

std::optional<fs::path> data_of(const RunNotes& notes) {
  if (notes.data.empty()) return {};
  const fs::path here = notes.data, there = notes.directory / notes.data;
  std::error_code ignored;
  if (!notes.directory.empty() && fs::is_directory(there, ignored))
    return fs::current_path(ignored) == notes.directory ? here : there;
  return fs::is_directory(here, ignored) ? std::optional(here) : std::nullopt;
}

void save_elapsed(const RunDirectory& run, Index epoch, Index batch, const Elapsed& elapsed) {
  const std::string json =
      text("{\"epoch\": %lld, \"batch\": %lld, \"seconds\": %.3f, \"step_seconds\": %.3f}\n",
           number(epoch), number(batch), elapsed.seconds, elapsed.step_seconds);
  write_file_atomically(run.elapsed(), json);
}

std::optional<Elapsed> load_elapsed(const RunDirectory& run, Index epoch, Index batch) try {
  auto members = members_of_json(read_file(run.elapsed(), most_json));
  const auto member = [&](const char* key) { return to_number<double>(members[key]).value_or(-1); };
  const Elapsed elapsed{member("seconds"), member("step_seconds")};
  const bool same_steps = member("epoch") == static_cast<double>(epoch) &&
                          member("batch") == static_cast<double>(batch);
  if (!same_steps || !(elapsed.seconds >= 0 && elapsed.step_seconds >= 0)) return {};
  return elapsed;
} catch (const Error&) {
  return {};
}

// ---- metrics.csv ------------------------------------------------------------------------------

static std::vector<std::string_view> cells_of(std::string_view line) {
  std::vector<std::string_view> cells;
  for (;;) {
    const std::size_t comma = line.find(',');
    cells.push_back(line.substr(0, comma));
    if (comma == line.npos) return cells;
    line.remove_prefix(comma + 1);
  }
}

// An epoch and seven numbers, of which the test NLL may be missing; nothing if it is something
// else.
static std::optional<EpochMetrics> parse_row(const std::string& line) {
  const std::vector<std::string_view> cells = cells_of(line);
  EpochMetrics row;
  double* const numbers[] = {
      &row.train_objective, &row.reconstruction_loss, &row.validation_nll, nullptr,
      &row.learning_rate,   &row.ms_per_step,         &row.seconds};
  const std::optional<Index> epoch = to_number<Index>(cells[0]);
  if (cells.size() != 1 + std::size(numbers) || !epoch || *epoch < 1) return {};
  row.epoch = *epoch;
  for (std::size_t i = 0; i < std::size(numbers); ++i) {
    const std::optional<double> number = to_number<double>(cells[1 + i]);
    const bool missing_test_nll = !numbers[i] && cells[1 + i].empty();
    if (!number && !missing_test_nll) return {};
    if (numbers[i]) *numbers[i] = *number;
    if (!numbers[i]) row.test_nll = number;
  }
  return row;
}

MetricsTable::MetricsTable(fs::path path, Index last_epoch)
    : path_(std::move(path)), text_(csv_header) {
  std::error_code ignored;
  if (last_epoch == 0 || !fs::exists(path_, ignored)) return;
  constexpr std::uint64_t most = std::uint64_t{1} << 32;
  std::istringstream lines(read_file(path_, most));
  Index number = 0, epoch_before = 0;
  for (std::string line; std::getline(lines, line) && !lines.eof();) {  // at its end: half a row
    if (++number == 1 && line + "\n" == csv_header) continue;
    const std::optional<EpochMetrics> row = parse_row(line);
    if (number == 1 || !row || row->epoch <= epoch_before)
      fail(path_.string() + ":" + std::to_string(number), "found ", quote(line), ", expected ",
           number == 1 ? "the names of the columns" : "the row of a later epoch, eight columns",
           "; mend or remove the line");
    epoch_before = row->epoch;
    if (row->epoch > last_epoch) continue;
    text_ += line + "\n";
    rows_.push_back(*row);
  }
}

void MetricsTable::append(const EpochMetrics& row) {
  const std::string test_nll = row.test_nll ? text("%.4f", *row.test_nll) : "";
  text_ += text("%lld,%.4f,%.6g,%.4f,%s,%.6g,%.3f,%.2f\n", number(row.epoch), row.train_objective,
                row.reconstruction_loss, row.validation_nll, test_nll.c_str(), row.learning_rate,
                row.ms_per_step, row.seconds);
  rows_.push_back(row);
  write_file_atomically(path_, text_);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

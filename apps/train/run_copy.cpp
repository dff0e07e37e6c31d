#include "backflow/apps/train/run_copy.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <limits>
#include <system_error>

#include "backflow/apps/files/atomic_file.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace fs = std::filesystem;

// The first rank's file, on all. Empty where it cannot be read: the first rank will say why.
static std::string text_of_first(Ranks& ranks, const fs::path& file) {
  std::string text;
  if (ranks.is_first()) try {
      text = read_file(file, std::numeric_limits<std::uint64_t>::max());
    } catch (const Error&) {
    }
  std::vector<std::string> texts = gather_over_ranks(ranks, text);
  return std::move(texts[0]);
}

static fs::path make_temporary_directory() {
  std::string name = fs::temp_directory_path() / "backflow_rank_XXXXXX";
  if (!mkdtemp(name.data()))
    fail(name, "cannot create this directory: ", std::generic_category().message(errno));
  return name;
}

RunCopy::RunCopy(const RunDirectory& run, bool resume, Ranks& ranks)
    : directory_(run), temporary_(!ranks.is_first()) {
  std::string configuration, checkpoint;
  if (resume && ranks.are_several()) {
    configuration = text_of_first(ranks, run.config());
    checkpoint = text_of_first(ranks, run.last());
    if (checkpoint.empty()) checkpoint = text_of_first(ranks, run.best());  // as find_checkpoint()
  }
  if (!temporary_) return;
  directory_.root = make_temporary_directory();
  try {
    if (!configuration.empty()) write_file_atomically(directory_.config(), configuration);
    if (checkpoint.empty()) return;
    fs::create_directories(directory_.last().parent_path());
    write_file_atomically(directory_.last(), checkpoint);
  } catch (...) {
    remove();
    throw;
  }
}

void RunCopy::remove() {
  std::error_code ignored;
  if (temporary_) fs::remove_all(directory_.root, ignored);
}

RunCopy::~RunCopy() { remove(); }

}  // namespace backflow::inline BACKFLOW_PRECISION

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
  return gather_over_ranks(ranks, text)[0];
}

static fs::path make_temporary_directory() {
  std::string name = fs::temp_directory_path() / "backflow_rank_XXXXXX";
  if (!mkdtemp(name.data()))
    fail(name, "cannot create this directory: ", std::generic_category().message(errno));
  return name;
}

RunCopy::RunCopy(const RunDirectory& run, bool resume, Ranks& ranks)
    : directory_(run), temporary_(!ranks.is_first()) {
  if (temporary_) directory_.root = make_temporary_directory();
  if (!resume || !ranks.are_several()) return;
  const std::string configuration = text_of_first(ranks, run.config());
  std::string last = text_of_first(ranks, run.last()), best;
  if (last.empty()) best = text_of_first(ranks, run.best());  // find_checkpoint() in resume.h
  if (!temporary_) return;
  fs::create_directories(directory_.last().parent_path());
  write_file_atomically(directory_.config(), configuration);
  if (!last.empty()) write_file_atomically(directory_.last(), last);
  if (!best.empty()) write_file_atomically(directory_.best(), best);
}

RunCopy::~RunCopy() {
  std::error_code ignored;
  if (temporary_) fs::remove_all(directory_.root, ignored);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

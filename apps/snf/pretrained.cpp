#include "backflow/apps/snf/pretrained.h"

#include <algorithm>
#include <system_error>
#include <vector>

namespace backflow::inline BACKFLOW_PRECISION {

namespace fs = std::filesystem;

static constexpr const char* extension = ".safetensors";

static bool has_directory(const fs::path& path) {
  std::error_code ignored;
  return fs::is_directory(path, ignored);
}

// The first of the places that is there, or else where they should have been installed. A build has
// include/backflow, a link to the sources, at its top; an installed one holds headers alone.
static fs::path directory_of_models(const fs::path& installed) {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  const fs::path beside = program.parent_path().parent_path() / "share/backflow/pretrained";
  if (has_directory(beside)) return beside;
  for (fs::path above = program.parent_path(); above.has_relative_path();
       above = above.parent_path())
    if (const fs::path sources = above / "include/backflow/apps/pretrained"; has_directory(sources))
      return sources;
  return installed;
}

static std::vector<std::string> names_of_models(const fs::path& directory) {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(directory, error))
    if (entry.path().extension() == extension) names.push_back(entry.path().stem());
  std::sort(names.begin(), names.end());
  return names;
}

static std::string in_a_line(const std::vector<std::string>& names) {
  std::string line;
  for (const std::string& name : names) line += (line.empty() ? "" : ", ") + name;
  return line;
}

fs::path find_pretrained(const std::string& experiment, const fs::path& installed) {
  const fs::path directory = directory_of_models(installed);
  const std::vector<std::string> names = names_of_models(directory);
  if (names.empty())
    fail("--pretrained", "found no models in ", directory.string(),
         ", expected those that come with snf; install them, or name a file with --checkpoint");
  if (std::find(names.begin(), names.end(), experiment) == names.end())
    fail("--pretrained", "found no model of ", experiment, ", expected one of ", in_a_line(names),
         "; or name a file with --checkpoint");
  return directory / (experiment + extension);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

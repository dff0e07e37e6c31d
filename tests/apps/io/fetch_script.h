// A script apps/fetch_*.sh in a process of its own, with mirrors that are local directories.
#pragma once

#include <sys/wait.h>

#include <cstdlib>

#include "apps/io/atomic_file.h"
#include "tests/apps/io/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {

class FetchScript : public testing::Test {
 protected:
  // fetch_`set`.sh, which reads BACKFLOW_`variables`_NPM and BACKFLOW_`variables`_MIRRORS.
  FetchScript(const std::string& set, const std::string& variables)
      : script_(std::string(BACKFLOW_SOURCE_ROOT "/apps/fetch_") + set + ".sh"),
        variables_("BACKFLOW_" + variables) {
    std::filesystem::create_directory(mirror());
  }

  std::filesystem::path mirror() const { return scratch_ / "mirror"; }
  std::filesystem::path dir() const { return scratch_ / "a dir"; }

  static std::string quoted(const std::filesystem::path& path) { return "'" + path.string() + "'"; }

  // Runs the script with these words after its name; its exit code.
  int run(const std::string& arguments) const {
    const std::string command = variables_ + "_NPM=no " + variables_ + "_MIRRORS='file://" +
                                mirror().string() + "' bash " + quoted(script_) + " " + arguments +
                                " >" + quoted(scratch_ / "output") + " 2>&1";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  int run() const { return run(quoted(dir())); }

  void expect_output(const std::string& words) const {
    const std::string output = read_file(scratch_ / "output");
    EXPECT_NE(output.find(words), output.npos) << "no '" << words << "' in:\n" << output;
  }

  Scratch scratch_;

 private:
  std::filesystem::path script_;
  std::string variables_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

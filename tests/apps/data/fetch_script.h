// A script apps/fetch_*.sh in a process of its own, with mirrors that are local directories.
#pragma once

#include <sys/wait.h>

#include <chrono>
#include <cstdlib>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {

class FetchScript : public testing::Test {
 protected:
  // fetch_`set`.sh, which reads BACKFLOW_`variables`_NPM and BACKFLOW_`variables`_MIRRORS.
  FetchScript(const std::string& set, const std::string& variables)
      : script_(std::string(BACKFLOW_SOURCE_ROOT "/apps/data/fetch_") + set + ".sh"),
        variables_("BACKFLOW_" + variables) {
    std::filesystem::create_directory(mirror());
  }

  std::filesystem::path mirror() const { return scratch_ / "mirror"; }
  std::filesystem::path dir() const { return scratch_ / "a dir"; }

  static std::string quoted(const std::filesystem::path& path) { return "'" + path.string() + "'"; }

  // Runs the script with these words after its name; its exit code.
  int run(const std::string& arguments) const {
    const std::string command = variables_ + "_NPM=no " + variables_ + "_MIRRORS='" + mirrors_ +
                                "' " + environment_ + " bash " + quoted(script_) + " " + arguments +
                                " >" + quoted(scratch_ / "output") + " 2>&1";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  int run() const { return run(quoted(dir())); }

  // Fails, and soon, though nothing answers.
  void expect_failure_within_seconds() const {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(run(), 2);
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(10));
  }

  std::string output() const { return read_file(scratch_ / "output"); }
  void expect_output(const std::string& words) const {
    EXPECT_NE(output().find(words), std::string::npos) << "no '" << words << "' in:\n" << output();
  }

  Scratch scratch_;
  std::string mirrors_ = "file://" + mirror().string();
  std::string environment_;  // more variables, as a shell sets them

 private:
  std::filesystem::path script_;
  std::string variables_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

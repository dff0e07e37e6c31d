// What the tests of apps/io share: a directory that disappears, and the text of an Error.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

class Scratch {
 public:
  Scratch() {
    std::string name = std::filesystem::temp_directory_path() / "backflow_io_XXXXXX";
    if (!mkdtemp(name.data())) fail(name, "cannot create a directory for the test");
    dir_ = name;
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { std::filesystem::remove_all(dir_); }

  const std::filesystem::path& dir() const { return dir_; }
  std::filesystem::path operator/(const std::string& name) const { return dir_ / name; }
  std::filesystem::path write(const std::string& name, std::string_view contents) const {
    std::ofstream(dir_ / name, std::ios::binary) << contents;
    return dir_ / name;
  }
  int files() const {
    const std::filesystem::directory_iterator all(dir_);
    return static_cast<int>(std::distance(begin(all), end(all)));
  }

 private:
  std::filesystem::path dir_;
};

// What `action` complains about; empty when it does not.
template <class Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

// One line that has all the words in it.
template <class... Words>
void expect_message(const std::string& message, const Words&... words) {
  EXPECT_FALSE(message.empty()) << "no Error was thrown";
  EXPECT_EQ(message.find('\n'), message.npos) << message;
  const auto expect = [&](const std::string& word) {
    EXPECT_NE(message.find(word), message.npos) << "no '" << word << "' in: " << message;
  };
  (expect(words), ...);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

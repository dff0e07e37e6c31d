// What the fuzz harnesses share: an input as a file, and what a reader may do with it.
//
// A reader accepts an input or throws an Error. Everything else is a finding, and ends the process:
// another exception, memory out of all proportion, a sanitizer's report, or a broken promise.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

inline void promise(bool kept, const char* what) {
  if (kept) return;
  std::fprintf(stderr, "a broken promise: %s\n", what);
  std::abort();
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

// The result of an action; nothing when it throws an Error.
template <class Action>
auto accepted(const Action& action) -> std::optional<decltype(action())> {
  try {
    return action();
  } catch (const Error&) {
    return {};
  }
}

// The bytes as a file, for functions that take a path: in memory, and the same file every time.
inline std::filesystem::path file_of(std::string_view bytes) {
  static const int fd = memfd_create("fuzz", MFD_CLOEXEC);
  const auto size = static_cast<off_t>(bytes.size());
  promise(ftruncate(fd, size) == 0 && pwrite(fd, bytes.data(), bytes.size(), 0) == size,
          "the system keeps a small file in memory");
  return "/proc/self/fd/" + std::to_string(fd);
}

// A path for a file to be written, in TMPDIR. The file goes with this.
class Output {
 public:
  Output()
      : path_(std::filesystem::temp_directory_path() /
              ("backflow_fuzz." + std::to_string(getpid()) + "." + std::to_string(count_++))) {}
  Output(const Output&) = delete;
  Output& operator=(const Output&) = delete;
  ~Output() { unlink(path_.c_str()); }

  const std::filesystem::path& path() const { return path_; }

 private:
  static inline int count_ = 0;
  std::filesystem::path path_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

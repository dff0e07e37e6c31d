// Whole files, read and written, and pieces of one that is too large for that. A written file is
// either the complete new one or the old one.
//
// Write a temporary file beside it, fsync, rename over it, fsync the directory. The new file has
// the old one's permissions and owner; a symbolic link stays one, and what it points to is written.
// What is no regular file, a device or a pipe, is written into as it is. Throws an Error naming the
// path and the system's reason; then the temporary is gone and the old file untouched. A file-size
// limit is such an error only while the program ignores SIGXFSZ.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

void write_file_atomically(const std::filesystem::path& path, std::string_view contents);
// The parts one after another, without joining them in memory.
void write_file_atomically(const std::filesystem::path& path,
                           std::span<const std::string_view> parts);

// Throws an Error, too, when the path leads to no regular file (a pipe or a device may never end)
// or to one of more than `most` bytes, of which none is read then.
std::string read_file(const std::filesystem::path& path,
                      std::uint64_t most = std::uint64_t{1} << 30);

// Read piece by piece, at any place; threads may share it. Throws as read_file does.
class OpenFile {
 public:
  explicit OpenFile(const std::filesystem::path& path);
  OpenFile(OpenFile&& other) noexcept;
  OpenFile& operator=(OpenFile&&) = delete;
  ~OpenFile();

  const std::filesystem::path& path() const { return path_; }
  std::uint64_t size() const { return size_; }  // when it was opened
  // Fewer bytes than asked for only at the end.
  std::string read(std::uint64_t offset, std::size_t size) const;
  std::size_t read(std::uint64_t offset, std::span<char> to) const;  // how many

 private:
  std::filesystem::path path_;
  int fd_;
  std::uint64_t size_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

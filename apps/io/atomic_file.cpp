#include "apps/io/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <tuple>
#include <utility>

namespace backflow::inline BACKFLOW_PRECISION {

namespace fs = std::filesystem;

static const char* hint_for_writing(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return "create its directory first";
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return "nothing was changed; free some space or raise the limit";
    case EACCES:
    case EPERM:
    case EROFS:
      return "nothing was changed; choose a place you may write to";
    case EISDIR:
      return "expected a file name, found a directory";
    default:
      return "nothing was changed";
  }
}

static const char* hint_for_reading(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return "check the path";
    case EISDIR:
      return "expected a file, found a directory";
    case EACCES:
      return "check its permissions";
    default:
      return "expected a readable file";
  }
}

[[noreturn]] static void fail_to_write(const fs::path& path) {
  const int error = errno;
  fail(path.string(), "cannot write: ", std::system_category().message(error), "; ",
       hint_for_writing(error));
}

[[noreturn]] static void fail_to_read(const fs::path& path) {
  const int error = errno;
  fail(path.string(), "cannot read: ", std::system_category().message(error), "; ",
       hint_for_reading(error));
}

namespace {

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { close(); }

  int get() const { return fd_; }
  bool close() { return fd_ < 0 || ::close(std::exchange(fd_, -1)) == 0; }

 private:
  int fd_;
};

// A file in the making: without commit() it disappears.
class Temporary {
 public:
  explicit Temporary(const fs::path& path) : path_(path), fd_(create()) {}
  ~Temporary() {
    if (!committed_) unlink(temporary_.c_str());
  }

  void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) fail_to_write(path_);
      bytes.remove_prefix(static_cast<std::size_t>(written));
    }
  }

  void commit() {
    if (fsync(fd_.get()) != 0 || !fd_.close()) fail_to_write(path_);
    if (rename(temporary_.c_str(), path_.c_str()) != 0) fail_to_write(path_);
    committed_ = true;
  }

 private:
  // Under a name that nobody has: another process may be writing the same file.
  int create() {
    for (int attempt = 0;; ++attempt) {
      temporary_ = path_;
      temporary_ += ".tmp" + (attempt ? std::to_string(attempt) : "");
      const int fd = open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
      if (fd >= 0) return fd;
      if (errno != EEXIST) fail_to_write(path_);
    }
  }

  fs::path path_, temporary_;
  Descriptor fd_;
  bool committed_ = false;
};

}  // namespace

// Makes the new name survive a power cut. Some file systems cannot; the file is complete anyway.
static void sync_directory_of(const fs::path& path) {
  const fs::path parent = path.has_parent_path() ? path.parent_path() : fs::path(".");
  const Descriptor directory(open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() >= 0) fsync(directory.get());
}

void write_file_atomically(const fs::path& path, std::span<const std::string_view> parts) {
  Temporary file(path);
  for (const std::string_view part : parts) file.write(part);
  file.commit();
  sync_directory_of(path);
}

void write_file_atomically(const fs::path& path, std::string_view contents) {
  write_file_atomically(path, std::span(&contents, 1));
}

// The descriptor and the size.
static std::pair<int, std::uint64_t> open_to_read(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail_to_read(path);
  struct stat info;
  if (fstat(fd, &info) == 0) return {fd, static_cast<std::uint64_t>(info.st_size)};
  const Descriptor closing(fd);
  fail_to_read(path);
}

std::string read_file(const fs::path& path) {
  const auto [number, size] = open_to_read(path);
  const Descriptor fd(number);
  std::string contents(size + 1, '\0');  // one more shows the end
  for (std::size_t used = 0;;) {
    const ssize_t got = read(fd.get(), contents.data() + used, contents.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_to_read(path);
    used += static_cast<std::size_t>(got);
    if (got > 0 && used == contents.size()) contents.resize(2 * used);  // it grew, or is a pipe
    if (got == 0) {
      contents.resize(used);
      return contents;
    }
  }
}

OpenFile::OpenFile(const fs::path& path) : path_(path) {
  std::tie(fd_, size_) = open_to_read(path);
}

OpenFile::~OpenFile() { close(fd_); }

std::string OpenFile::read(std::uint64_t offset, std::size_t size) const {
  std::string bytes(size, '\0');
  for (std::size_t used = 0; used < size;) {
    const ssize_t got =
        pread(fd_, bytes.data() + used, size - used, static_cast<off_t>(offset + used));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_to_read(path_);
    if (got == 0) bytes.resize(used);
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
  }
  return bytes;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

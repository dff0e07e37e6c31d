#include "backflow/apps/files/atomic_file.h"

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
    case ELOOP:
      return "its symbolic links lead nowhere";
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

// Everything, or an Error naming `path`.
void write_all(int fd, std::string_view bytes, const fs::path& path) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_to_write(path);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

// A file in the making: without commit() it disappears.
class Temporary {
 public:
  // `old`: of the file that it will replace, if there is one.
  Temporary(const fs::path& path, const struct stat* old) : path_(path), fd_(create()) {
    if (!old) return;
    // Both may fail, as where the file system knows no owners: the contents matter more.
    std::ignore = fchown(fd_.get(), old->st_uid, old->st_gid);
    std::ignore = fchmod(fd_.get(), old->st_mode & 0777);
  }
  ~Temporary() {
    if (!committed_) unlink(temporary_.c_str());
  }

  void write(std::string_view bytes) { write_all(fd_.get(), bytes, path_); }

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

// Where a chain of symbolic links ends, whether there is something or not.
static fs::path end_of_links(const fs::path& path) {
  constexpr int most = 40;  // as the kernel has it
  fs::path end = path;
  std::error_code error;
  for (int links = 0; fs::is_symlink(end, error); ++links) {
    errno = ELOOP;
    if (links == most) fail_to_write(path);
    end = end.parent_path() / fs::read_symlink(end, error);  // an absolute one replaces it
  }
  return end;
}

static void write_in_place(const fs::path& path, std::span<const std::string_view> parts) {
  Descriptor fd(open(path.c_str(), O_WRONLY | O_TRUNC | O_NOCTTY | O_CLOEXEC));
  if (fd.get() < 0) fail_to_write(path);
  for (const std::string_view part : parts) write_all(fd.get(), part, path);
  if (!fd.close()) fail_to_write(path);
}

void write_file_atomically(const fs::path& path, std::span<const std::string_view> parts) {
  const fs::path target = end_of_links(path);
  struct stat found, linked;
  const bool exists = stat(path.c_str(), &found) == 0;
  // A descriptor in /proc looks like a link, whose text is not always the name of what is open.
  const bool named = exists && lstat(target.c_str(), &linked) == 0 &&
                     linked.st_dev == found.st_dev && linked.st_ino == found.st_ino;
  if (exists && (!S_ISREG(found.st_mode) || !named)) return write_in_place(path, parts);
  Temporary file(target, exists ? &found : nullptr);
  for (const std::string_view part : parts) file.write(part);
  file.commit();
  sync_directory_of(target);
}

void write_file_atomically(const fs::path& path, std::string_view contents) {
  write_file_atomically(path, std::span(&contents, 1));
}

static const char* kind_of(mode_t mode) {
  if (S_ISDIR(mode)) return "a directory";
  if (S_ISFIFO(mode)) return "a pipe";
  if (S_ISSOCK(mode)) return "a socket";
  return "a device";
}

// The descriptor and the size. Without blocking: a pipe that nobody writes to would wait for ever.
static std::pair<int, std::uint64_t> open_to_read(const fs::path& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
  if (fd < 0) fail_to_read(path);
  struct stat info;
  const bool known = fstat(fd, &info) == 0;
  if (known && S_ISREG(info.st_mode)) return {fd, static_cast<std::uint64_t>(info.st_size)};
  const Descriptor closing(fd);
  if (!known) fail_to_read(path);
  fail(path.string(), "cannot read: expected a file, found ", kind_of(info.st_mode));
}

std::string read_file(const fs::path& path, std::uint64_t most) {
  const auto [number, size] = open_to_read(path);
  const Descriptor fd(number);
  const auto check = [&](std::uint64_t bytes) {
    if (bytes > most)
      fail(path.string(), "found ", bytes, " bytes, expected at most ", most,
           "; is this the right file?");
  };
  check(size);
  std::string contents(size + 1, '\0');  // one more shows the end
  for (std::size_t used = 0;;) {
    const ssize_t got = read(fd.get(), contents.data() + used, contents.size() - used);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_to_read(path);
    used += static_cast<std::size_t>(got);
    check(used);
    if (got > 0 && used == contents.size()) contents.resize(2 * used);  // it grew
    if (got == 0) {
      contents.resize(used);
      return contents;
    }
  }
}

OpenFile::OpenFile(const fs::path& path) : path_(path) {
  std::tie(fd_, size_) = open_to_read(path);
}

OpenFile::OpenFile(OpenFile&& other) noexcept
    : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)), size_(other.size_) {}

OpenFile::~OpenFile() {
  if (fd_ >= 0) close(fd_);
}

std::size_t OpenFile::read(std::uint64_t offset, std::span<char> to) const {
  std::size_t used = 0;
  while (used < to.size()) {
    const ssize_t got =
        pread(fd_, to.data() + used, to.size() - used, static_cast<off_t>(offset + used));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_to_read(path_);
    if (got == 0) break;
    used += static_cast<std::size_t>(got);
  }
  return used;
}

std::string OpenFile::read(std::uint64_t offset, std::size_t size) const {
  std::string bytes(size, '\0');
  bytes.resize(read(offset, bytes));
  return bytes;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

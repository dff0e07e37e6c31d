#include "backflow/apps/files/atomic_file.h"

#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <vector>

#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

// Files may not grow beyond this size while it lives.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) : handler_(std::signal(SIGXFSZ, SIG_IGN)) {
    getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{bytes, old_.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
  }
  ~FileSizeLimit() {
    setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit old_;
};

// While it lives, permissions count: root is an ordinary user, too.
class Unprivileged {
 public:
  Unprivileged() : user_(geteuid()) {
    if (user_ == 0) {
      EXPECT_EQ(seteuid(65534), 0);
    }
  }
  ~Unprivileged() { EXPECT_EQ(seteuid(user_), 0); }

 private:
  uid_t user_;
};

TEST(AtomicFile, WhatIsWrittenIsReadBack) {
  const Scratch scratch;
  const std::string all_bytes("a\0\n\xff z", 6);
  write_file_atomically(scratch / "file", all_bytes);
  EXPECT_EQ(read_file(scratch / "file"), all_bytes);
}

TEST(AtomicFile, PartsAreWrittenOneAfterAnother) {
  const Scratch scratch;
  const std::vector<std::string_view> parts{"one ", "", "two"};
  write_file_atomically(scratch / "file", parts);
  EXPECT_EQ(read_file(scratch / "file"), "one two");
}

TEST(AtomicFile, AnEmptyFileIsAFile) {
  const Scratch scratch;
  write_file_atomically(scratch / "file", "");
  EXPECT_EQ(read_file(scratch / "file"), "");
}

TEST(AtomicFile, NoTemporaryIsLeftAfterReplacingAFile) {
  const Scratch scratch;
  scratch.write("file", "a longer old text");
  write_file_atomically(scratch / "file", "new");
  EXPECT_EQ(read_file(scratch / "file"), "new");
  EXPECT_EQ(scratch.files(), 1);
}

TEST(AtomicFile, AForeignTemporaryIsLeftAlone) {
  const Scratch scratch;
  scratch.write("file.tmp", "another process is writing this");
  write_file_atomically(scratch / "file", "mine");
  EXPECT_EQ(read_file(scratch / "file"), "mine");
  EXPECT_EQ(read_file(scratch / "file.tmp"), "another process is writing this");
}

TEST(AtomicFile, AFileInTheWorkingDirectoryNeedsNoDirectoryInItsPath) {
  const Scratch scratch;
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(scratch.dir());
  write_file_atomically("file", "here");
  EXPECT_EQ(read_file("file"), "here");
  std::filesystem::current_path(before);
}

TEST(AtomicFile, PermissionsFollowTheUmask) {
  const Scratch scratch;
  const mode_t old = umask(027);
  write_file_atomically(scratch / "file", "text");
  umask(old);
  struct stat info;
  ASSERT_EQ(stat((scratch / "file").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0640u);
}

TEST(AtomicFile, AFileSizeLimitLeavesTheOldFileAndNoTemporary) {
  const Scratch scratch;
  scratch.write("file", "old");
  const std::string message = message_of([&] {
    const FileSizeLimit limit(4096);
    write_file_atomically(scratch / "file", std::string(10000, 'x'));
  });
  expect_message(message, "file]", "cannot write", "File too large", "nothing was changed");
  EXPECT_EQ(read_file(scratch / "file"), "old");
  EXPECT_EQ(scratch.files(), 1);
}

TEST(AtomicFile, AMissingDirectoryIsNamed) {
  const Scratch scratch;
  expect_message(message_of([&] { write_file_atomically(scratch / "none/file", "x"); }),
                 (scratch / "none/file").string(), "No such file", "create its directory");
}

TEST(AtomicFile, ADirectoryIsNotReplaced) {
  const Scratch scratch;
  std::filesystem::create_directory(scratch / "dir");
  expect_message(message_of([&] { write_file_atomically(scratch / "dir", "x"); }), "cannot write",
                 "irectory");
  EXPECT_EQ(scratch.files(), 1);
}

TEST(AtomicFile, AnUnwritableDirectoryIsAnError) {
  const Scratch scratch;
  std::filesystem::permissions(scratch.dir(), std::filesystem::perms{0555});
  const std::string message = message_of([&] {
    const Unprivileged user;
    write_file_atomically(scratch / "file", "x");
  });
  expect_message(message, "Permission denied", "choose a place");
  std::filesystem::permissions(scratch.dir(), std::filesystem::perms{0700});
}

TEST(AtomicFile, LinksAreFollowedToTheFileAndStay) {
  const Scratch scratch;
  std::filesystem::create_directory(scratch / "dir");
  std::filesystem::create_symlink("dir/file", scratch / "link");
  for (const std::string text : {"made through it", "written through it"}) {
    write_file_atomically(scratch / "link", text);
    EXPECT_EQ(read_file(scratch / "dir/file"), text);
    EXPECT_EQ(std::filesystem::read_symlink(scratch / "link"), "dir/file");
  }
  std::filesystem::create_symlink("loop", scratch / "loop");
  expect_message(message_of([&] { write_file_atomically(scratch / "loop", "x"); }), "loop]",
                 "cannot write");
}

TEST(AtomicFile, PermissionsOfTheOldFileStay) {
  const Scratch scratch;
  std::filesystem::permissions(scratch.write("file", "old"), std::filesystem::perms{0600});
  write_file_atomically(scratch / "file", "new");
  EXPECT_EQ(std::filesystem::status(scratch / "file").permissions(), std::filesystem::perms{0600});
}

TEST(AtomicFile, ADescriptorIsWrittenInto) {
  const Scratch scratch;
  std::FILE* const unnamed = std::tmpfile();
  const std::string path = "/proc/self/fd/" + std::to_string(fileno(unnamed));
  write_file_atomically(path, "text");
  EXPECT_EQ(read_file(path), "text");
  std::fclose(unnamed);
}

TEST(ReadFile, AMissingFileIsNamed) {
  const Scratch scratch;
  expect_message(message_of([&] { read_file(scratch / "none"); }), (scratch / "none").string(),
                 "cannot read", "No such file", "check the path");
}

TEST(ReadFile, ADirectoryIsNotAFile) {
  const Scratch scratch;
  expect_message(message_of([&] { read_file(scratch.dir()); }), "cannot read",
                 "expected a file, found a directory");
}

TEST(ReadFile, AnUnreadableFileIsAnError) {
  const Scratch scratch;
  std::filesystem::permissions(scratch.dir(), std::filesystem::perms{0755});
  std::filesystem::permissions(scratch.write("file", "x"), std::filesystem::perms{0});
  const std::string message = message_of([&] {
    const Unprivileged user;
    read_file(scratch / "file");
  });
  expect_message(message, "Permission denied", "permissions");
}

TEST(ReadFile, AFileOfUnknownSizeIsReadToItsEnd) {
  EXPECT_FALSE(read_file("/proc/self/status").empty());  // stat says 0 bytes
}

TEST(ReadFile, MoreThanExpectedIsNotRead) {
  const Scratch scratch;
  const auto path = scratch.write("file", "12345");
  EXPECT_EQ(read_file(path, 5), "12345");
  expect_message(message_of([&] { read_file(path, 4); }), "found 5 bytes, expected at most 4");
}

TEST(ReadFile, WhatMayNeverEndIsNoFile) {
  const Scratch scratch;
  ASSERT_EQ(mkfifo((scratch / "pipe").c_str(), 0600), 0);
  expect_message(message_of([&] { read_file(scratch / "pipe"); }), "found a pipe");
  expect_message(message_of([] { read_file("/dev/zero"); }), "found a device");
}

TEST(OpenFile, ReadsAnyPieceUpToTheEnd) {
  const Scratch scratch;
  const OpenFile file(scratch.write("file", "0123456789"));
  EXPECT_EQ(file.path(), scratch / "file");
  EXPECT_EQ(file.size(), 10u);
  EXPECT_EQ(file.read(3, 4), "3456");
  EXPECT_EQ(file.read(0, 10), "0123456789");
  EXPECT_EQ(file.read(8, 4), "89");
  EXPECT_EQ(file.read(10, 4), "");
  EXPECT_EQ(file.read(1'000'000, 4), "");
}

TEST(OpenFile, WhatCannotBeReadIsNamed) {
  const Scratch scratch;
  expect_message(message_of([&] { OpenFile(scratch / "none"); }), (scratch / "none").string(),
                 "cannot read", "No such file", "check the path");
  expect_message(message_of([&] { OpenFile(scratch.dir()).read(0, 1); }), "cannot read",
                 "expected a file, found a directory");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

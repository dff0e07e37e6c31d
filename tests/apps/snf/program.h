// The program snf as its users meet it: a process with arguments, output and an exit code, in a
// directory of its own where data/mnist holds a few small images.
#pragma once

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <thread>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/ops/random.h"
#include "backflow/tests/apps/data/idx_files.h"
#include "backflow/tests/apps/files/scratch.h"
#include "backflow/tests/apps/pseudo_terminal.h"

namespace backflow::inline BACKFLOW_PRECISION {

using Words = std::vector<std::string>;

inline Words split(const std::string& text) {
  std::istringstream stream(text);
  return {std::istream_iterator<std::string>(stream), {}};
}

struct Finished {
  int code = -1;  // 128 + N when signal N ended it
  std::string out, err;
};

struct Conditions {
  std::string path = "/nowhere";        // to look for gnuplot, which takes longer than all the rest
  rlim_t largest_file = RLIM_INFINITY;  // bytes
  bool terminal = false;                // whether stderr is one
  unsigned short columns = 0;           // that it has; 0: it does not say
  rlim_t address_space = RLIM_INFINITY;  // bytes
  int signal = 0;                        // sent once `when` holds of what was printed so far
  std::function<bool(const std::string& out)> when = nullptr;
};

// An unnamed file, or a terminal, that the program writes to.
class Screen {
 public:
  Screen() : file_(std::tmpfile()) {}
  explicit Screen(unsigned short columns) : terminal_(columns) {}

  int descriptor() const { return file_ ? fileno(file_.get()) : terminal_->descriptor(); }
  const std::string& so_far() {
    if (!file_) return text_ += terminal_->come();
    char block[4096];
    for (ssize_t size;
         (size = pread(descriptor(), block, sizeof block, static_cast<off_t>(text_.size()))) > 0;)
      text_.append(block, static_cast<std::size_t>(size));
    return text_;
  }
  const std::string& at_the_end() { return file_ ? so_far() : text_ += terminal_->written(); }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::unique_ptr<std::FILE, Close> file_;
  std::optional<PseudoTerminal> terminal_;
  std::string text_;
};

// Under a sanitizer a refused allocation is warned of, which is not the program's doing.
inline std::string without_warnings(std::string text) {
  const std::string warning = "==WARNING: AddressSanitizer failed to allocate";
  for (std::size_t at; (at = text.find(warning)) != text.npos;) {
    const std::size_t begin = text.rfind('\n', at) + 1;
    text.erase(begin, text.find('\n', at) + 1 - begin);
  }
  return text;
}

class Snf {
 public:
  // `name` is that of the program, with which what it complains about begins.
  explicit Snf(std::string program = SNF_PROGRAM, std::string name = "snf")
      : program_(std::move(program)), name_(std::move(name)) {
    std::filesystem::create_directories(dir_ / "data/mnist");
    write_images("data/mnist", 6);
  }

  std::filesystem::path operator/(const std::string& name) const { return dir_ / name; }

  // 60 images for training and validation, 20 for testing, with random pixels.
  void write_images(const std::string& to, std::uint32_t side, std::uint64_t seed = 1) const {
    std::filesystem::create_directories(dir_ / to);
    write(to + "/train-images-idx3-ubyte", random_images(60, side, seed));
    write(to + "/t10k-images-idx3-ubyte", random_images(20, side, seed + 1));
  }
  void write(const std::string& name, const std::string& contents) const {
    dir_.write(name, contents);
  }

  Finished operator()(const std::string& arguments, const Conditions& conditions = {}) const {
    Words words = split(arguments);
    words.insert(words.begin(), program_);
    return run(words, conditions);
  }
  const std::string& name() const { return name_; }
  const std::string& program() const { return program_; }
  const std::filesystem::path& directory() const { return dir_.dir(); }
  Finished run(Words words, const Conditions& conditions = {}) const;

  // Every file and directory: when it was changed, and what is in it.
  using Snapshot = std::map<std::string, std::pair<std::filesystem::file_time_type, std::string>>;
  Snapshot snapshot(const std::string& below = "") const {
    Snapshot all;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(dir_ / below))
      all[entry.path().lexically_relative(dir_ / below)] = {
          entry.last_write_time(), entry.is_regular_file() ? read_file(entry.path()) : ""};
    return all;
  }

 private:
  static void limit(int resource, rlim_t most) {
    rlimit limit;
    getrlimit(resource, &limit);
    limit.rlim_cur = std::min(most, limit.rlim_max);
    if (setrlimit(resource, &limit) != 0) _exit(126);
  }

  static std::string random_images(std::uint32_t count, std::uint32_t side, std::uint64_t seed) {
    std::string bytes = idx_header(count, side, side);
    for (Real u : Random(seed).uniform({count * side * side}).values())
      bytes += static_cast<char>(static_cast<int>(256 * u));
    return bytes;
  }

  std::string program_, name_;
  Scratch dir_;
};

inline Finished Snf::run(Words words, const Conditions& conditions) const {
  Screen out;
  Screen err = conditions.terminal ? Screen(conditions.columns) : Screen();
  std::string path = "PATH=" + conditions.path;
  std::string for_sanitizers = "ASAN_OPTIONS=allocator_may_return_null=1";
  std::vector<char*> arguments, environment{path.data(), for_sanitizers.data(), nullptr};
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);

  const pid_t child = fork();
  if (child == 0) {
    limit(RLIMIT_FSIZE, conditions.largest_file);
    limit(RLIMIT_AS, conditions.address_space);
    // A script that runs the tests in the background ignores some, and the program would, too.
    for (const int signal : {SIGINT, SIGHUP, SIGTERM}) std::signal(signal, SIG_DFL);
    dup2(out.descriptor(), STDOUT_FILENO);
    dup2(err.descriptor(), STDERR_FILENO);
    if (chdir(dir_.dir().c_str()) == 0) execve(arguments[0], arguments.data(), environment.data());
    _exit(127);
  }

  using Clock = std::chrono::steady_clock;
  const Clock::time_point deadline = Clock::now() + std::chrono::seconds(60);
  bool sent = conditions.signal == 0;
  int status = 0;
  while (waitpid(child, &status, WNOHANG) == 0) {
    err.so_far();  // a terminal that nobody reads is soon full
    if (!sent && conditions.when(out.so_far())) sent = kill(child, conditions.signal) == 0;
    if (Clock::now() > deadline) kill(child, SIGKILL);
    std::this_thread::sleep_for(std::chrono::microseconds(200));
  }
  EXPECT_LT(Clock::now(), deadline) << "it hangs";
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), out.at_the_end(),
          without_warnings(err.at_the_end())};
}

inline void expect_words(const std::string& text, const Words& words) {
  for (const std::string& word : words)
    EXPECT_NE(text.find(word), text.npos) << "no '" << word << "' in:\n" << text;
}

inline void expect_success(const Finished& run) {
  EXPECT_EQ(run.code, 0);
  EXPECT_EQ(run.err, "");
}

// One line on stderr that has all the words in it, no output, and nothing written.
inline void expect_refused(const Snf& snf, const std::string& arguments, const Words& words) {
  SCOPED_TRACE(arguments);
  const Snf::Snapshot before = snf.snapshot();
  const Finished run = snf(arguments);
  EXPECT_EQ(run.code, 2);
  EXPECT_EQ(run.out, "");
  EXPECT_TRUE(run.err.starts_with(snf.name() + ": ")) << run.err;
  EXPECT_EQ(run.err.find('\n') + 1, run.err.size()) << run.err;
  expect_words(run.err, words);
  EXPECT_TRUE(snf.snapshot() == before) << "files have changed";
}

}  // namespace backflow::inline BACKFLOW_PRECISION

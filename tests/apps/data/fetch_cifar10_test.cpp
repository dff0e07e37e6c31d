// The script apps/data/fetch_cifar10.sh.
#include "backflow/tests/apps/data/fetch_script.h"
#include "backflow/tests/apps/data/idx_files.h"
#include "backflow/tests/apps/files/tar_files.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr const char* batches[] = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin",
                                   "data_batch_4.bin", "data_batch_5.bin", "test_batch.bin"};

class FetchCifar10 : public FetchScript {
 protected:
  FetchCifar10() : FetchScript("cifar10", "CIFAR10") {}

  void write_archive(const std::string& contents) const {
    scratch_.write("mirror/cifar-10-binary.tar.gz", contents);
  }
};

TEST_F(FetchCifar10, ABrokenDownloadIsDeletedAndSaid) {
  std::string tar = tar_member("cifar-10-batches-bin/", "", {'5'});
  for (const std::string name : batches)
    tar += tar_member("cifar-10-batches-bin/" + name, "not CIFAR-10");
  write_archive(gzip(tar + tar_end()));
  EXPECT_EQ(run(), 2);
  expect_output("fetching into " + dir().string() + ": data_batch_1");
  expect_output("downloading file://" + mirror().string() + "/cifar-10-binary.tar.gz");
  for (const std::string name : batches) expect_output(name + " from file://");
  expect_output("cifar-10-binary.tar.gz had a wrong checksum: deleted");
  expect_output("no source gave good data for: data_batch_1.bin");
  EXPECT_TRUE(std::filesystem::is_empty(dir()));
}

TEST_F(FetchCifar10, ADownloadThatIsNoArchiveIsDeletedAndSaid) {
  for (const std::string& contents : {std::string("<html>"), gzip("text"), gzip(tar_end())}) {
    write_archive(contents);
    EXPECT_EQ(run(), 2);
    expect_output("is not a whole archive of the batches: deleted");
    EXPECT_TRUE(std::filesystem::is_empty(dir()));
  }
}

TEST_F(FetchCifar10, AnExistingFileWithAWrongChecksumIsDeletedAndSaid) {
  std::filesystem::create_directory(dir());
  scratch_.write("a dir/data_batch_4.png", "damaged");
  scratch_.write("a dir/test_batch.bin", "damaged");
  EXPECT_EQ(run(), 2);
  expect_output("a dir/data_batch_4.png had a wrong checksum: deleted");
  expect_output("a dir/test_batch.bin had a wrong checksum: deleted");
  EXPECT_TRUE(std::filesystem::is_empty(dir()));
}

TEST_F(FetchCifar10, WrongArgumentsAreRefused) {
  EXPECT_EQ(run("one two"), 2);
  expect_output("expected at most one directory: fetch_cifar10.sh [DIR=data/cifar10]");
  EXPECT_EQ(run("--fast"), 2);
  expect_output("\"--fast\"");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

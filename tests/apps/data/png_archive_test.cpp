#include "backflow/apps/data/png_archive.h"

#include <numeric>

#include "backflow/tests/apps/files/png_files.h"
#include "backflow/tests/apps/files/scratch.h"
#include "backflow/tests/apps/files/tar_files.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr int height = 2, width = 3;

std::string png(std::uint32_t seed, PngKind kind = {}) {
  return png_file(height, width, noise(height * width * 3, seed), kind);
}

class PngArchiveTest : public testing::Test {
 protected:
  PngArchive open(const std::string& members) const {
    return PngArchive(scratch_.write("x.tar", members + tar_end()), 3, height, width);
  }
  std::uint32_t checksum(const std::string& members) const {
    const PngArchive archive = open(members);
    std::vector<std::uint32_t> indices(static_cast<std::size_t>(archive.count()));
    std::iota(indices.begin(), indices.end(), 0u);
    return archive.checksum(indices);
  }

  // The message when the second image of an archive is asked for, whose first one is good.
  std::string message_of_second(const std::string& contents) const {
    const PngArchive archive = open(tar_member("1.png", png(1)) + tar_member("d/2.png", contents));
    archive.picture(0);
    return message_of([&] { archive.picture(1); });
  }

  Scratch scratch_;
};

TEST_F(PngArchiveTest, ImagesComeInTheArchivesOrder) {
  const PngArchive archive = open(tar_member("d/", "", {'5'}) + tar_member("d/9.png", png(9)) +
                                  tar_member("d/1.png", png(1)));
  ASSERT_EQ(archive.count(), 2);
  EXPECT_EQ(archive.picture(0).pixels, decode_png(png(9), 3, "").pixels);
  EXPECT_EQ(archive.picture(1).pixels, decode_png(png(1), 3, "").pixels);
}

TEST_F(PngArchiveTest, OtherAndHiddenFilesAreLeftOut) {
  const PngArchive archive =
      open(tar_member("README", "text") + tar_member("d/._1.png", "not an image") +
           tar_member(".1.png", "not an image") + tar_member("link.png", "", {'2'}) +
           tar_member("png", "") + tar_member(".d/1.png", png(1)));
  ASSERT_EQ(archive.count(), 1);
  EXPECT_EQ(archive.picture(0).pixels, decode_png(png(1), 3, "").pixels);
}

TEST_F(PngArchiveTest, AnArchiveWithoutImagesHasNone) {
  EXPECT_EQ(open(tar_member("a.txt", "text")).count(), 0);
}

TEST_F(PngArchiveTest, ItIsReadWithoutUnpacking) {
  open(tar_member("1.png", png(1)));
  EXPECT_EQ(scratch_.files(), 1);
}

TEST_F(PngArchiveTest, ABadFirstImageIsRefusedAtOnce) {
  expect_message(message_of([&] { open(tar_member("d/1.png", png_file(3, 2, ""))); }),
                 "x.tar: d/1.png] ", "found an image of 3 x 2", "expected 2 x 3");
}

TEST_F(PngArchiveTest, ABadImageIsNamedWhenItIsAskedFor) {
  expect_message(message_of_second(png_file(2, 2, "")), "x.tar: d/2.png] ", "2 x 2",
                 "expected 2 x 3");
  expect_message(message_of_second(png(1, {0})), "x.tar: d/2.png] ", "8-bit gray",
                 "expected 8-bit RGB");
  const std::string whole = png(1);
  expect_message(message_of_second(whole.substr(0, whole.size() - 20)), "x.tar: d/2.png] ",
                 "damaged", "truncated");
  expect_message(message_of_second(""), "x.tar: d/2.png] ", "damaged", "truncated");
  expect_message(message_of_second("not an image"), "x.tar: d/2.png] ", "damaged");
}

TEST_F(PngArchiveTest, TheChecksumTellsArchivesApart) {
  const std::string one = tar_member("1.png", png(1)), two = tar_member("2.png", png(2));
  const std::uint32_t sum = checksum(one + two);
  EXPECT_EQ(checksum(one + two), sum);
  EXPECT_EQ(checksum(tar_member("d/", "", {'5'}) + one + two), sum);
  EXPECT_NE(checksum(two + one), sum);
  EXPECT_NE(checksum(one), sum);
  EXPECT_NE(checksum(one + two + two), sum);
  EXPECT_NE(checksum(one + tar_member("2.png", png(3))), sum);
}

TEST_F(PngArchiveTest, TheChecksumSeesEverySize) {
  std::string many;
  for (int i = 0; i < 300; ++i) many += tar_member("x.png", png(1));
  const std::uint32_t sum = checksum(many);
  const std::size_t step = tar_member("x.png", png(1)).size();
  for (const std::size_t i : {0, 1, 150, 299}) {
    std::string changed = many;
    changed.replace(i * step, step, tar_member("x.png", png(1) + "x"));
    EXPECT_NE(checksum(changed), sum) << i;
  }
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

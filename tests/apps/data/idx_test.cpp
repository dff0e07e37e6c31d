#include "backflow/apps/data/idx.h"

#include "backflow/tests/apps/data/idx_files.h"
#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

IdxImages load(const std::string& contents) {
  const Scratch scratch;
  return load_idx_images(scratch.write("images", contents));
}

std::string message_of_loading(const std::string& contents) {
  const std::string message = message_of([&] { load(contents); });
  EXPECT_NE(message.find("images] "), message.npos) << message;
  return message;
}

void expect_5_images(const IdxImages& images) {
  EXPECT_EQ(images.count, 5);
  EXPECT_EQ(images.height, 7);
  EXPECT_EQ(images.width, 9);
  ASSERT_EQ(images.pixels.size(), 5u * 7 * 9);
  for (std::size_t i = 0; i < images.pixels.size(); ++i) ASSERT_EQ(images.pixels[i], i % 251);
}

TEST(Idx, RawFilesLoad) { expect_5_images(load(idx_file(5, 7, 9))); }

TEST(Idx, CompressedFilesLoad) { expect_5_images(load(gzip(idx_file(5, 7, 9)))); }

TEST(Idx, BlackImagesLoadHoweverWellTheyCompress) {
  const IdxImages images = load(gzip(idx_header(100, 100, 100) + std::string(1'000'000, '\0')));
  EXPECT_EQ(images.pixels, std::vector<std::uint8_t>(1'000'000));
}

TEST(Idx, AFileWithoutImagesLoads) { EXPECT_EQ(load(idx_header(0, 28, 28)).count, 0); }

TEST(Idx, AMissingFileIsNamed) {
  expect_message(message_of([] { load_idx_images("no-such-images"); }), "no-such-images",
                 "No such file");
}

TEST(Idx, ATruncatedHeaderIsRefused) {
  expect_message(message_of_loading(""), "truncated", "found 0 bytes", "16");
  expect_message(message_of_loading(idx_file(5, 7, 9).substr(0, 15)), "truncated", "15", "16");
  expect_message(message_of_loading(gzip(idx_file(5, 7, 9).substr(0, 15))), "truncated", "15");
}

TEST(Idx, TruncatedPixelsAreRefused) {
  std::string file = idx_file(5, 7, 9);
  file.pop_back();
  expect_message(message_of_loading(file), "truncated", "expected 315", "at most 314");
  expect_message(message_of_loading(gzip(file)), "truncated", "found 314", "expected 315");
}

TEST(Idx, EveryTruncationOfAGzipFileIsRefused) {
  const Scratch scratch;
  const std::string file = gzip(idx_file(5, 7, 9));
  for (std::size_t size = 2; size < file.size(); ++size) {
    const auto path = scratch.write("images", file.substr(0, size));
    expect_message(message_of([&] { load_idx_images(path); }), "images]", "truncated");
  }
}

TEST(Idx, CorruptGzipDataIsRefused) {
  std::string file = gzip(idx_file(5, 7, 9));
  file[file.size() - 6] ^= 1;  // the checksum
  expect_message(message_of_loading(file), "gzip", "corrupt");
  file[2] = 99;  // the method
  expect_message(message_of_loading(file), "gzip", "corrupt");
}

TEST(Idx, AWrongMagicIsRefused) {
  expect_message(message_of_loading(idx_header(1, 1, 1, 0x801) + "x"), "wrong magic", "0x00000801",
                 "expected 0x00000803", "labels");
}

TEST(Idx, TrailingBytesAreRefused) {
  const std::string file = idx_file(5, 7, 9);
  expect_message(message_of_loading(file + "x"), "more bytes after the 5 images");
  expect_message(message_of_loading(gzip(file + "x")), "more bytes after the 5 images");
  expect_message(message_of_loading(gzip(file) + "x"), "more bytes after the 5 images");
}

TEST(Idx, AbsurdSizesAreRefusedBeforeMemoryIsAskedFor) {
  for (const auto& header : {idx_header(1, 0, 28), idx_header(1, 28, 70000)})
    expect_message(message_of_loading(header + "x"), "claim to be", "sides of 1 to 65535");
  const std::string huge = idx_header(0xffffffff, 65535, 65535);
  expect_message(message_of_loading(huge), "truncated", "4294967295 images");
  expect_message(message_of_loading(gzip(huge)), "truncated", "4294967295 images");
}

using Labels = std::vector<std::uint8_t>;

Labels load_labels(const std::string& contents, int classes = 10) {
  const Scratch scratch;
  return load_idx_labels(scratch.write("labels", contents), classes);
}

std::string message_of_labels(const std::string& contents) {
  const std::string message = message_of([&] { load_labels(contents); });
  EXPECT_NE(message.find("labels] "), message.npos) << message;
  return message;
}

const std::string five_labels = idx_labels({9, 0, 3, 0, 1});

TEST(IdxLabels, LoadRawAndCompressed) {
  EXPECT_EQ(load_labels(five_labels), (Labels{9, 0, 3, 0, 1}));
  EXPECT_EQ(load_labels(gzip(five_labels)), (Labels{9, 0, 3, 0, 1}));
  EXPECT_EQ(load_labels(idx_labels("")), Labels{});
}

TEST(IdxLabels, AMissingFileIsNamed) {
  expect_message(message_of([] { load_idx_labels("no-such-labels"); }), "no-such-labels",
                 "No such file");
}

TEST(IdxLabels, EveryTruncationIsRefused) {
  for (std::size_t size = 0; size < five_labels.size(); ++size)
    expect_message(message_of_labels(five_labels.substr(0, size)), "truncated",
                   size < 8 ? "expected a header of 8" : "5 labels, expected 5 bytes");
  const std::string compressed = gzip(five_labels);
  for (std::size_t size = 2; size < compressed.size(); ++size)
    expect_message(message_of_labels(compressed.substr(0, size)), "truncated");
}

TEST(IdxLabels, ACountThatNoMemoryHoldsIsRefusedBeforeItIsAskedFor) {
  const std::string header = big_endian(0x801) + big_endian(0xffffffff);
  expect_message(message_of_labels(header), "claims 4294967295 labels", "found at most 0");
  expect_message(message_of_labels(gzip(header)), "claims 4294967295 labels", "found at most");
}

TEST(IdxLabels, TrailingBytesAreRefused) {
  expect_message(message_of_labels(five_labels + '\0'), "more bytes after the 5 labels");
  expect_message(message_of_labels(gzip(five_labels + '\0')), "more bytes after the 5 labels");
}

TEST(IdxLabels, ImagesAreRefused) {
  expect_message(message_of_labels(idx_file(5, 7, 9)), "wrong magic", "0x00000803",
                 "expected 0x00000801", "not images");
}

TEST(IdxLabels, ALabelThatIsNoneIsNamed) {
  expect_message(message_of_labels(idx_labels({0, 9, 10, 11})), "label 10 of example 2",
                 "expected 0 to 9");
  EXPECT_EQ(load_labels(idx_labels({0, 46}), 47), (Labels{0, 46}));
  EXPECT_EQ(load_labels(idx_labels("\xff"), 256), Labels{255});
}

TEST(IdxLabels, AnImpossibleNumberOfClassesIsRefused) {
  for (const int classes : {0, -1, 257})
    expect_message(message_of([&] { load_labels(five_labels, classes); }), "load_idx_labels",
                   std::to_string(classes) + " classes", "1 to 256");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

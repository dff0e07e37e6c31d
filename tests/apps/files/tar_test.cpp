#include "backflow/apps/files/tar.h"

#include "backflow/tests/apps/data/idx_files.h"
#include "backflow/tests/apps/files/scratch.h"
#include "backflow/tests/apps/files/tar_files.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

bool all(const std::string&) { return true; }

using Files = std::vector<std::pair<std::string, std::string>>;

Files load(const std::string& archive,
           const std::function<bool(const std::string&)>& wanted = all) {
  const Scratch scratch;
  const TarFile tar(scratch.write("x.tar", archive), wanted);
  Files files;
  for (const TarFile::Member& member : tar.members())
    files.emplace_back(tar.name(member), tar.contents(member));
  return files;
}

std::string message_of_loading(const std::string& archive) {
  const std::string message = message_of([&] { load(archive); });
  EXPECT_NE(message.find("x.tar] "), message.npos) << message;
  return message;
}

std::string pax_record(const std::string& text) {  // with its length in front: of two digits
  return std::to_string(text.size() + 4) + " " + text + "\n";
}

TEST(Tar, RegularFilesAreFoundInTheirOrder) {
  const std::string archive = tar_member("b", "first") + tar_member("a", "") +
                              tar_member("dir/c", std::string(512, 'x')) +
                              tar_member("d", std::string(513, 'y')) + tar_end();
  EXPECT_EQ(load(archive), (Files{{"b", "first"},
                                  {"a", ""},
                                  {"dir/c", std::string(512, 'x')},
                                  {"d", std::string(513, 'y')}}));
}

TEST(Tar, AnEmptyArchiveHasNoFiles) { EXPECT_EQ(load(tar_end()), Files{}); }

TEST(Tar, WhatIsNoRegularFileIsSkipped) {
  std::string archive;
  for (const char type : {'1', '2', '3', '4', '5', '6', 'g', 'S'})
    archive += tar_member("no", "", {type});
  for (const char type : {'0', '\0', '7'}) archive += tar_member("yes", "", {type});
  EXPECT_EQ(load(archive + tar_end()), (Files{{"yes", ""}, {"yes", ""}, {"yes", ""}}));
}

TEST(Tar, ADirectoryHasNoBytesWhateverItsSizeSays) {
  const std::string directory = tar_member("dir/", std::string(512, 'x'), {'5'}).substr(0, 512);
  EXPECT_EQ(load(directory + tar_member("a", "b") + tar_end()), (Files{{"a", "b"}}));
}

TEST(Tar, OnlyWantedFilesAreKept) {
  const std::string archive = tar_member("a.png", "1") + tar_member("b.txt", "2") + tar_end();
  EXPECT_EQ(load(archive, [](const std::string& name) { return name.ends_with(".txt"); }),
            (Files{{"b.txt", "2"}}));
}

TEST(Tar, LongNamesAreReadInEveryForm) {
  const std::string name = std::string(200, 'n') + ".png";
  const std::string cut = name.substr(0, 100);
  const Files expected{{name, "x"}, {"short", "y"}};
  const std::string rest = tar_member("short", "y") + tar_end();
  const std::string gnu = tar_member("././@LongLink", name + '\0', {'L'});
  EXPECT_EQ(load(gnu + tar_member(cut, "x") + rest), expected);
  const std::string link = tar_member("././@LongLink", name + "link", {'K'});
  EXPECT_EQ(load(gnu + link + tar_member(cut, "x") + rest), expected);
  const std::string records = pax_record("mtime=1.5") + std::to_string(5 + 5 + name.size()) +
                              " path=" + name + "\n" + pax_record("size=1");
  EXPECT_EQ(load(tar_member("pax", records, {'x'}) + tar_member(cut, "x") + rest), expected);
  const std::string prefixed = tar_member(name.substr(150), "x", {'0', name.substr(0, 150)});
  EXPECT_EQ(load(prefixed + rest),
            (Files{{name.substr(0, 150) + "/" + name.substr(150), "x"}, {"short", "y"}}));
}

TEST(Tar, PaxRecordsThatAreNoneAreIgnored) {
  for (const std::string records :
       {"", "x", "9", "99999999999999 path=a\n", "0 path=\n", "-1 x", "7 path=", "12 mtime=1.5\n"})
    EXPECT_EQ(load(tar_member("pax", records, {'x'}) + tar_member("a", "b") + tar_end()),
              (Files{{"a", "b"}}))
        << records;
}

TEST(Tar, ATruncatedArchiveIsRefused) {
  const Scratch scratch;
  const std::string whole = tar_member("dir/", "", {'5'}) + tar_member("a", "contents") +
                            tar_member("b", "more") + tar_end();
  for (std::size_t size = 0; size < whole.size() - 512; size += 31) {
    const auto path = scratch.write("x.tar", whole.substr(0, size));
    expect_message(message_of([&] { TarFile(path, all); }), "x.tar] the archive is truncated",
                   "found " + std::to_string(size) + " bytes", "fetch the archive again");
  }
}

TEST(Tar, ATruncatedMemberIsNamed) {
  const std::string whole = tar_member("a", "") + tar_member("dir/b", std::string(2000, 'x'));
  expect_message(message_of_loading(whole.substr(0, 1500)), "truncated", "found 1500 bytes",
                 "expected dir/b up to byte 3072");
}

TEST(Tar, ADamagedHeaderIsRefused) {
  const std::string whole = tar_member("a", "") + tar_member("b", "contents") + tar_end();
  const Scratch scratch;
  for (std::size_t at = 512; at < 1024; at += 4) {
    std::string damaged = whole;
    damaged[at] ^= 5;
    const auto path = scratch.write("x.tar", damaged);
    expect_message(message_of([&] { TarFile(path, all); }), "found no tar header at byte 512",
                   "expected one with a right checksum");
  }
}

TEST(Tar, WhatIsNoArchiveIsRefused) {
  expect_message(message_of_loading("x"), "truncated", "found 1 bytes", "at least 512");
  expect_message(message_of_loading(std::string(600, 'x')), "found no tar header at byte 0",
                 "fetch the archive again");
  expect_message(message_of_loading(gzip(tar_end()) + std::string(600, 'x')), "compressed",
                 "gzip -d");
  expect_message(message_of_loading("BZh9" + std::string(600, 'x')), "compressed", "bzip2 -d");
}

TEST(Tar, ANameWithoutBoundsIsRefused) {
  const std::string archive = tar_member("././@LongLink", std::string(70'000, 'n'), {'L'}) +
                              tar_member("n", "") + tar_end();
  expect_message(message_of_loading(archive), "a name of 70000 bytes", "at most 65536");
}

TEST(Tar, AMissingArchiveIsNamed) {
  expect_message(message_of([] { TarFile("no-such.tar", all); }), "no-such.tar", "No such file");
  const Scratch scratch;
  expect_message(message_of([&] { TarFile(scratch.dir(), all); }), scratch.dir().string(),
                 "cannot read");
}

TEST(Tar, AnArchiveThatShrinksIsAnErrorNotACrash) {
  const Scratch scratch;
  const auto path = scratch.write("x.tar", tar_member("a", std::string(600, 'x')) + tar_end());
  const TarFile tar(path, all);
  std::filesystem::resize_file(path, 700);
  expect_message(message_of([&] { tar.contents(tar.members()[0]); }), "x.tar] ", "truncated");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

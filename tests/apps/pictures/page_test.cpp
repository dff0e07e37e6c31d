#include "backflow/apps/pictures/page.h"

#include <algorithm>

#include "backflow/apps/files/atomic_file.h"
#include "backflow/tests/apps/files/scratch.h"
#include "backflow/tests/apps/pictures/program_path.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Colour = std::array<int, 3>;
constexpr Colour white{255, 255, 255};

class Pages : public testing::Test {
 protected:
  Picture saved(const Page& page, bool captions = true) {
    EXPECT_EQ(page.save(scratch_ / "page.png"), captions);
    return decode_png(read_file(scratch_ / "page.png"), 3, "page.png");
  }
  static Colour pixel(const Picture& picture, int row, int column) {
    const auto* p = picture.pixels.data() + (row * picture.width + column) * 3;
    return {p[0], p[1], p[2]};
  }
  // How many pixels of these columns and rows are not white.
  static Index inked(const Picture& picture, int left, int right, int top, int bottom) {
    Index count = 0;
    for (int row = top; row < bottom; ++row)
      for (int column = left; column < right; ++column)
        count += pixel(picture, row, column) != white;
    return count;
  }
  Scratch scratch_;
};

TEST_F(Pages, APictureKeepsItsPixelsWhereItIsPlaced) {
  Page page(40, 30);
  page.place({3, 1, 2, {1, 2, 3, 250, 251, 252}}, 5, 7);
  page.place({1, 2, 1, {0, 9}}, 39, 28);
  page.write("far from both", 2, 20, Align::left, 4);
  const Picture picture = saved(page);
  EXPECT_EQ(picture.width, 40);
  EXPECT_EQ(picture.height, 30);
  EXPECT_EQ(pixel(picture, 7, 5), (Colour{1, 2, 3}));
  EXPECT_EQ(pixel(picture, 7, 6), (Colour{250, 251, 252}));
  EXPECT_EQ(pixel(picture, 28, 39), (Colour{0, 0, 0}));
  EXPECT_EQ(pixel(picture, 29, 39), (Colour{9, 9, 9}));
  EXPECT_EQ(pixel(picture, 7, 7), white);
}

TEST_F(Pages, WordsStandWhereTheyAreAligned) {
  for (const auto& [align, left, right] :
       {std::tuple{Align::left, 150, 220}, {Align::centre, 115, 185}, {Align::right, 80, 150}}) {
    Page page(300, 100);
    page.write("words", 150, 30, align, 14);
    const Picture picture = saved(page);
    EXPECT_GT(inked(picture, left, right, 15, 45), 50);
    EXPECT_EQ(inked(picture, left, right, 15, 45), inked(picture, 0, 300, 0, 100));
  }
}

TEST_F(Pages, WordsDarkenAPictureAndNeverBrightenIt) {
  Page page(100, 40);
  const Picture gray{1, 40, 100, std::vector<std::uint8_t>(4000, 128)};
  page.place(gray, 0, 0);
  page.write("12345", 50, 20, Align::centre, 16);
  const Picture picture = saved(page);
  EXPECT_EQ(*std::max_element(picture.pixels.begin(), picture.pixels.end()), 128);
  EXPECT_LT(*std::min_element(picture.pixels.begin(), picture.pixels.end()), 30);
}

TEST_F(Pages, WordsBrightenADarkPageByItsInk) {
  Page page(100, 40, {10, 20, 30}, {200, 220, 240});
  page.write("12345", 50, 20, Align::centre, 16, Weight::bold);
  const Picture picture = saved(page);
  EXPECT_EQ(pixel(picture, 0, 0), (Colour{10, 20, 30}));
  EXPECT_EQ(*std::max_element(picture.pixels.begin(), picture.pixels.end()), 240);
  EXPECT_EQ(*std::min_element(picture.pixels.begin(), picture.pixels.end()), 10);
}

TEST_F(Pages, LightWordsHaveLessInk) {
  const auto darkest = [&](Weight weight) {
    Page page(100, 40);
    page.write("HHHHH", 50, 20, Align::centre, 16, weight);
    const Picture picture = saved(page);
    return int{*std::min_element(picture.pixels.begin(), picture.pixels.end())};
  };
  EXPECT_LT(darkest(Weight::regular), 30);
  EXPECT_NEAR(darkest(Weight::light), 0x68, 20);
}

TEST_F(Pages, WordsAreNeverCommands) {
  Page page(200, 60);
  page.write("'; system 'touch \"oops\"'; `touch oops` $(touch oops) \n!touch oops", 5, 30);
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(scratch_.dir());
  saved(page);
  std::filesystem::current_path(before);
  EXPECT_EQ(scratch_.files(), 1);
}

TEST_F(Pages, WithoutGnuplotThereAreThePicturesAlone) {
  const ProgramPath nowhere(scratch_.dir());
  Page page(40, 30);
  page.place({1, 1, 1, {7}}, 3, 4);
  saved(page);  // there are no words that could be missing
  page.write("words", 20, 20);
  const Picture picture = saved(page, false);
  EXPECT_EQ(pixel(picture, 4, 3), (Colour{7, 7, 7}));
  EXPECT_EQ(inked(picture, 0, 40, 0, 30), 1);
}

TEST_F(Pages, WhateverAnotherGnuplotDrawsThePicturesAreThere) {
  const std::string one_pixel =
      R"(printf '\211PNG\r\n\032\n\0\0\0\rIHDR\0\0\0\001\0\0\0\001\010\0\0\0\0:~\233U')";
  for (const std::string& script :
       {std::string("exit 1"), std::string("echo no picture"), one_pixel}) {
    std::filesystem::permissions(scratch_.write("gnuplot", "#!/bin/sh\n" + script + "\n"),
                                 std::filesystem::perms{0700});
    const ProgramPath only_this(scratch_.dir());
    Page page(40, 30);
    page.place({1, 1, 1, {7}}, 3, 4);
    page.write("words", 20, 20);
    EXPECT_EQ(pixel(saved(page, false), 4, 3), (Colour{7, 7, 7})) << script;
  }
}

TEST_F(Pages, APictureThatDoesNotLieWithinIsRefused) {
  Page page(40, 30);
  const Picture picture{1, 2, 3, std::vector<std::uint8_t>(6)};
  page.place(picture, 37, 28);
  for (const auto& [left, top] : {std::pair{38, 28}, {37, 29}, {-1, 0}, {0, -1}, {1 << 30, 0}})
    expect_message(message_of([&, left = left, top = top] { page.place(picture, left, top); }),
                   "[Page] a picture of 2 x 3", "within the page's 30 x 40");
}

TEST(PagesOfNoSize, AreRefused) {
  for (const auto& [width, height] : {std::pair{0, 1}, {1, 0}, {-5, 5}})
    expect_message(message_of([width = width, height = height] { Page page(width, height); }),
                   "[Page]", "sides of at least 1");
}

TEST_F(Pages, AnUnwritableFileIsNamed) {
  expect_message(message_of([&] { Page(3, 3).save(scratch_ / "none/page.png"); }),
                 "none/page.png] cannot write");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

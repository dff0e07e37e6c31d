#include "backflow/apps/files/quote.h"

#include <gtest/gtest.h>

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

TEST(Printable, LeavesTextAsItIs) {
  for (const std::string text :
       {"", "a name", "back\\slash \"quotes\"", "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x8e\xb2"})
    EXPECT_EQ(printable(text), text);
}

TEST(Printable, WritesOutWhatATerminalWouldObey) {
  EXPECT_EQ(printable("\x1b[2J\r\n\t\x07\x7f"), R"(\x1b[2J\r\n\t\x07\x7f)");
  EXPECT_EQ(printable(std::string("\0", 1)), R"(\x00)");
  EXPECT_EQ(printable("\xc2\x9b"), R"(\x9b)");  // a control sequence in one character
  EXPECT_EQ(printable("a\xe2\x80\xae"
                      "b"),
            R"(a\u202eb)");                           // from right to left
  EXPECT_EQ(printable("\xe2\x80\xa8"), R"(\u2028)");  // a line's end
}

TEST(Printable, WritesOutBytesThatAreNoUtf8) {
  EXPECT_EQ(printable("\xff"), R"(\xff)");
  EXPECT_EQ(printable("\xc3"), R"(\xc3)");                  // cut short
  EXPECT_EQ(printable("\xc0\x8a"), R"(\xc0\x8a)");          // a line feed, longer than needed
  EXPECT_EQ(printable("\xed\xa0\x80"), R"(\xed\xa0\x80)");  // half of a pair
  EXPECT_EQ(printable("\xf4\x90\x80\x80"), R"(\xf4\x90\x80\x80)");
  EXPECT_EQ(printable("\x80x"), R"(\x80x)");
}

TEST(Quote, IsALineAtMost) {
  EXPECT_EQ(quote("name"), "\"name\"");
  EXPECT_EQ(quote("name", '\''), "'name'");
  EXPECT_EQ(quote(std::string(80, 'x')), "\"" + std::string(80, 'x') + "\"");
  EXPECT_EQ(quote(std::string(81, 'x')), "\"" + std::string(80, 'x') + "...\" (81 bytes)");
  std::string accents;
  for (int i = 0; i < 100; ++i) accents += "\xc3\xbc";
  EXPECT_EQ(quote("x" + accents), "\"x" + accents.substr(0, 78) + "...\" (201 bytes)");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/apps/data/csv.h"

#include <cmath>

#include "backflow/tests/apps/data/idx_files.h"
#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

using Names = std::vector<std::string>;
using Values = std::vector<double>;

CsvTable load(const std::string& contents) {
  const Scratch scratch;
  return load_csv(scratch.write("data.csv", contents));
}

// Without the directory, which has another name each time.
std::string message_of_loading(const std::string& contents) {
  const std::string message = message_of([&] { load(contents); });
  const std::size_t name = message.find("data.csv");
  return name == message.npos ? message : "[" + message.substr(name);
}

void expect_table(const std::string& contents, const Names& names, const Values& values) {
  const CsvTable table = load(contents);
  EXPECT_EQ(table.names, names) << contents;
  EXPECT_EQ(table.values, values) << contents;
}

std::string repeated(const std::string& text, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += text;
  return all;
}

TEST(Csv, ALineOfNamesIsOptional) {
  const CsvTable named = load("a,b\n1,2\n3,4\n"), unnamed = load("1,2\n3,4\n");
  EXPECT_TRUE(named.named);
  EXPECT_FALSE(unnamed.named);
  EXPECT_EQ(named.names, (Names{"a", "b"}));
  EXPECT_EQ(unnamed.names, (Names{"1", "2"}));
  EXPECT_EQ(named.values, (Values{1, 2, 3, 4}));
  EXPECT_EQ(unnamed.values, named.values);
  EXPECT_EQ(named.rows(), 2);
  EXPECT_EQ(unnamed.rows(), 2);
}

TEST(Csv, OneCellThatIsNoNumberMakesALineOfNames) {
  expect_table("2010,2011,total\n1,2,3\n", {"2010", "2011", "total"}, {1, 2, 3});
}

// As pandas writes the numbers of its rows.
TEST(Csv, AColumnWithoutNameIsCalledByItsNumber) {
  expect_table(",mass\n0,1.5\n1,2.5\n", {"1", "mass"}, {0, 1.5, 1, 2.5});
}

TEST(Csv, NumbersAreReadAsTheyAreWritten) {
  expect_table("a\n1\n-2.5\n+3\n.5\n4.\n1e3\n1E-3\n-0\n0.1\n1e38\n", {"a"},
               {1, -2.5, 3, .5, 4, 1000, 0.001, -0., 0.1, 1e38});
}

TEST(Csv, WhatIsTooSmallForADoubleIsZero) {
  expect_table("a,b\n1e-400,-1e-999\n", {"a", "b"}, {0, 0});
}

TEST(Csv, CommasSemicolonsAndTabsSeparate) {
  for (const std::string separator : {",", ";", "\t"}) {
    const std::string text = "a" + separator + "b\n1" + separator + "2\n";
    expect_table(text, {"a", "b"}, {1, 2});
  }
}

TEST(Csv, ANameInQuotesMayHoldAnotherSeparator) {
  expect_table("\"a;b\",c\n1,2\n", {"a;b", "c"}, {1, 2});
}

TEST(Csv, SpacesAroundCellsDoNotCount) {
  expect_table(" a ,\tb c \n 1 ,\t2\t\n", {"a", "b c"}, {1, 2});
  expect_table(" a \t b\n 1 \t 2 \n", {"a", "b"}, {1, 2});
}

TEST(Csv, QuotesAreThoseOfRfc4180) {
  expect_table("\"a, b\",\"say \"\"c\"\"\" , \"d\" \n\"1\",2,\" 3\"\n1, \"2\" ,3\n",
               {"a, b", "say \"c\"", "d"}, {1, 2, 3, 1, 2, 3});
}

TEST(Csv, LinesMayEndAsOnWindows) {
  expect_table("a,b\r\n1,2\r\n3,4\r\n", {"a", "b"}, {1, 2, 3, 4});
}

TEST(Csv, TheLastLineNeedsNoEnd) { expect_table("1,2\n3,4", {"1", "2"}, {1, 2, 3, 4}); }

TEST(Csv, EmptyLinesMayFollow) {
  expect_table("a\n1\n\n \r\n\n", {"a"}, {1});
  expect_table("1\n\n", {"1"}, {1});
}

TEST(Csv, AByteOrderMarkIsNoPartOfAName) {
  expect_table(
      "\xef\xbb\xbf"
      "a,b\n1,2\n",
      {"a", "b"}, {1, 2});
  expect_table(
      "\xef\xbb\xbf"
      "1,2\n",
      {"1", "2"}, {1, 2});
}

TEST(Csv, CompressedFilesLoad) {
  const CsvTable table = load(gzip("a,b\n" + repeated("1,2\n", 100'000)));
  EXPECT_EQ(table.rows(), 100'000);
  EXPECT_EQ(table.values.back(), 2);
}

TEST(Csv, LinesAcrossTheReadersPiecesAreWhole) {
  std::string text = "number,its half\n";
  for (int i = 0; i < 100'000; ++i) text += std::to_string(i) + "," + std::to_string(i * .5) + "\n";
  const CsvTable table = load(text);
  ASSERT_EQ(table.rows(), 100'000);
  for (std::size_t i = 0; i < 100'000; ++i) {
    ASSERT_EQ(table.values[2 * i], static_cast<double>(i));
    ASSERT_EQ(table.values[2 * i + 1], static_cast<double>(i) / 2);
  }
}

TEST(Csv, OneTo200ColumnsLoad) {
  EXPECT_EQ(load("1\n2\n").columns(), 1);
  EXPECT_EQ(load(repeated("1,", 199) + "2\n").columns(), 200);
  EXPECT_EQ(message_of_loading(repeated("1,", 200) + "2\n"),
            "[data.csv:1] found 201 columns, expected 1 to 200; is this a table of numbers?");
}

TEST(Csv, PlacesCountLinesFromOne) {
  const Scratch scratch;
  const CsvTable named = load_csv(scratch.write("data.csv", "a\n1\n"));
  EXPECT_EQ(named.place(0), (scratch / "data.csv").string() + ":2");
  EXPECT_EQ(named.column(0), "column \"a\"");
  const CsvTable unnamed = load_csv(scratch.write("data.csv", "1\n2\n"));
  EXPECT_EQ(unnamed.place(1), (scratch / "data.csv").string() + ":2");
  EXPECT_EQ(unnamed.column(0), "column 1");
}

TEST(Csv, TextIsRefusedWithItsPlace) {
  EXPECT_EQ(message_of_loading("a,b\n1,2\n3,red\n"),
            "[data.csv:3] column \"b\": found \"red\", expected a number; leave out columns that "
            "are no numbers, or give them numbers");
  EXPECT_EQ(message_of_loading("1,2\n3,red\n"),
            "[data.csv:2] column 2: found \"red\", expected a number; leave out columns that are "
            "no numbers, or give them numbers");
  for (const std::string text : {"0x10", "1.2.3", "1e", "--1", "+-1", "1_000", "e5", "1f"})
    expect_message(message_of_loading("a\n" + text + "\n"),
                   "[data.csv:2] column \"a\": found \"" + text + "\", expected a number");
}

TEST(Csv, MissingValuesAreRefused) {
  EXPECT_EQ(message_of_loading("a,b\n1,\n"),
            "[data.csv:2] column \"b\": found nothing, expected a number; fill in the value or "
            "leave out the row");
  for (const std::string word : {"NA", "n/a", "null", "None", "?", "-"})
    EXPECT_EQ(message_of_loading("a,b\n1,2\n" + word + ",2\n"),
              "[data.csv:3] column \"a\": found \"" + word +
                  "\", expected a number; fill in the value or leave out the row");
}

TEST(Csv, AFirstLineWithAMissingValueIsNoLineOfNames) {
  EXPECT_EQ(message_of_loading("1,,3\n4,5,6\n"),
            "[data.csv:1] column 2: found nothing, expected a number; fill in the value or leave "
            "out the row");
  expect_message(message_of_loading("1,nan,3\n4,5,6\n"), "[data.csv:1] column 2: found \"nan\"");
}

TEST(Csv, NanAndInfinityAreRefused) {
  for (const std::string word : {"nan", "NaN", "-nan", "inf", "-Inf", "+inf", "infinity"})
    EXPECT_EQ(message_of_loading("a\n1\n" + word + "\n"),
              "[data.csv:3] column \"a\": found \"" + word +
                  "\", expected a finite number; fill in the value or leave out the row");
}

TEST(Csv, NumbersBeyondTheLargestAreRefused) {
  for (const std::string number : {"1.1e38", "-1e39", "1e400", "-1e999", "+1e400"})
    EXPECT_EQ(message_of_loading("a\n1\n" + number + "\n"),
              "[data.csv:3] column \"a\": found \"" + number +
                  "\", expected a number from -1e+38 to 1e+38; scale the column");
}

TEST(Csv, RowsOfOtherLengthsAreRefused) {
  EXPECT_EQ(message_of_loading("a,b,c\n1,2,3\n1,2\n"),
            "[data.csv:3] found 2 cells, expected 3 as in the first line; is a value missing, or a "
            "decimal comma there?");
  expect_message(message_of_loading("1,2\n1,2,3\n"), "[data.csv:2] found 3 cells, expected 2");
  expect_message(message_of_loading("1,2\n3\n"), "[data.csv:2] found 1 cell, expected 2");
  expect_message(message_of_loading("1,2\n3,4,\n"), "[data.csv:2] found 3 cells, expected 2");
}

TEST(Csv, AnEmptyLineBeforeOthersIsRefused) {
  EXPECT_EQ(message_of_loading("a,b\n1,2\n\n\n3,4\n"),
            "[data.csv:3] found an empty line, expected 2 numbers; empty lines may only be the "
            "last");
  expect_message(message_of_loading("a\n1\n \n2"),
                 "[data.csv:3] found an empty line, expected 1 n");
  EXPECT_EQ(message_of_loading("\na,b\n1,2\n"),
            "[data.csv:1] found an empty line, expected names or numbers");
}

TEST(Csv, AnEmptyFileIsRefused) {
  EXPECT_EQ(message_of_loading(""), "[data.csv] the file is empty, expected rows of numbers");
  expect_message(message_of_loading("\xef\xbb\xbf"), "[data.csv:1] found an empty line");
  expect_message(message_of_loading(gzip("")), "the file is empty");
}

TEST(Csv, ATableMayHaveNoRows) { EXPECT_EQ(load("a,b\n").rows(), 0); }

TEST(Csv, TwoColumnsOfOneNameAreRefused) {
  EXPECT_EQ(message_of_loading("a,b,a\n1,2,3\n"),
            "[data.csv:1] two columns have the name \"a\", expected all different");
  expect_message(message_of_loading("2,\n1,2\n"), "column 2: found nothing");
  expect_message(message_of_loading("a,3,\n1,2,3\n"), "two columns have the name \"3\"");
}

TEST(Csv, HintsKnowWhatOtherProgramsWrite) {
  expect_message(message_of_loading("a;b\n1,5;2\n"), "found \"1,5\"",
                 "write decimals with a point");
  expect_message(message_of_loading("a b\n1 2\n"), "found \"1 2\"",
                 "separate columns by commas, semicolons or tabs");
  expect_message(message_of_loading("a\n1\r2\r3\r"), "found \"1\\r2\\r3\"",
                 "end lines with \\n or \\r\\n");
}

TEST(Csv, BinaryFilesAreRefusedWithoutTheirBytes) {
  using namespace std::string_literals;
  for (const std::string& bytes : {"PK\3\4\0\0\xff"s, "\x89PNG\r\n\x1a\n"s, "\x93NUMPY\1\0v\0{}"s,
                                   "\xff\xfe"
                                   "a\0,\0b\0"s,
                                   "\xd0\xcf\x11\xe0"s, "\0"s}) {
    const std::string message = message_of_loading(bytes + "\n1\n");
    expect_message(message, "[data.csv:1] found the column name \"",
                   "expected UTF-8 without control characters; is this a CSV file?");
    for (const char c : message) EXPECT_TRUE(c >= ' ' && c <= '~') << message;
  }
  const std::string red = message_of_loading("a\n\x1b[31mred\n");
  expect_message(red, "found \"\\x1b[31mred\"");
  EXPECT_EQ(red.find('\x1b'), red.npos);
}

TEST(Csv, NamesInAnotherEncodingAreRefused) {
  expect_message(message_of_loading("Gr\xf6\xdf"
                                    "e\n1\n"),
                 "\"Gr\\xf6\\xdfe\"", "expected UTF-8");
  expect_table("Größe\n1\n", {"Größe"}, {1});
}

TEST(Csv, ALineWithoutEndIsRefused) {
  expect_message(message_of_loading(std::string(3'000'000, '1')),
                 "[data.csv:1] found a line of more than 1048576 bytes");
  expect_message(message_of_loading("a\n" + gzip("")), "[data.csv:2] column \"a\": found");
  // A small file may hold a large one.
  expect_message(message_of_loading(gzip(std::string(10'000'000, '\0'))), "a line of more than");
}

TEST(Csv, UnclosedQuotesAreRefused) {
  EXPECT_EQ(message_of_loading("a,\"b\n1,2\n"),
            "[data.csv:1] a cell in quotes does not end, expected another quote on its line");
  EXPECT_EQ(message_of_loading("a,\"b\"c,d\n1,2,3\n"),
            "[data.csv:1] found \"c,d\" behind a cell in quotes, expected a comma or the end of "
            "the line");
}

TEST(Csv, WhatIsNoFileIsRefused) {
  const Scratch scratch;
  expect_message(message_of([&] { load_csv(scratch.dir()); }), "found a directory");
  expect_message(message_of([&] { load_csv(scratch / "none.csv"); }), "none.csv]", "No such file");
  expect_message(message_of([] { load_csv("/dev/zero"); }), "found a device");
}

TEST(Csv, DamagedGzipFilesAreRefused) {
  const std::string file = gzip("a,b\n" + repeated("1,2\n", 1000));
  expect_message(message_of_loading(file.substr(0, file.size() - 9)), "truncated");
  expect_message(message_of_loading(file + std::string("\0\0x", 3)), "after the gzip data");
}

TEST(Csv, CellsSurviveAsText) {
  for (const std::string text : {"", "a", "a b", "a,b", "a;b", "\"", "\"a\"\"", "1"}) {
    const std::string line = csv_cell(text) + "," + csv_cell("x") + "," + csv_cell(text);
    EXPECT_EQ(csv_cells("test", line), (Names{text, "x", text})) << line;
  }
  EXPECT_EQ(csv_cell("mass"), "mass");
  EXPECT_EQ(csv_cell("a,\"b\""), "\"a,\"\"b\"\"\"");
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

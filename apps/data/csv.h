// Tables of numbers as text, a row per line (CSV), raw or compressed by gzip:
//
//   mass,"charge, e",spin     names, if any cell of the first line is no number
//   1.5,-1,5e-1               numbers, finite, with a decimal point
//
// Cells are separated by commas; by semicolons if the first line has one, else by tabs if it has no
// comma. Spaces around a cell do not count. Lines end in \n or \r\n, the last ones may be empty,
// and the text may begin with UTF-8's byte order mark. Quotes are those of RFC 4180: a cell in
// "..." may hold separators, and "" for a quote; it ends on its line.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

inline constexpr Index max_csv_columns = 200;
// Larger numbers than float holds are refused in both precisions; so the sum of the squares of a
// column is finite in double.
inline constexpr double max_csv_number = 1e38;

struct CsvTable {
  std::filesystem::path path;
  std::vector<std::string> names;  // all different; without a line of names "1", "2", ...
  bool named = false;              // whether the file has a line of names
  std::vector<double> values;      // (rows, columns)

  Index columns() const { return std::ssize(names); }
  Index rows() const { return names.empty() ? 0 : std::ssize(values) / columns(); }
  // For messages: `column "mass"`, or `column 3` where columns have no names.
  std::string column(Index index) const;
  std::string place(Index row) const;  // data.csv:7, the line counted from 1
};

// Throws an Error that names file, line and column for what is no such table: text or nothing where
// a number is expected, rows of other lengths, more columns than the most, a name that occurs
// twice, numbers beyond the largest, binary data. A table may have no rows.
CsvTable load_csv(const std::filesystem::path& path);

// The cells of a line, without the spaces and quotes around them. Throws an Error naming `where`
// for a quote that is not closed, or that has something behind it.
std::vector<std::string> csv_cells(const std::string& where, std::string_view line,
                                   char separator = ',');
// The text as a cell: in quotes, if it needs them.
std::string csv_cell(const std::string& text);

}  // namespace backflow::inline BACKFLOW_PRECISION

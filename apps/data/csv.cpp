#include "backflow/apps/data/csv.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <utility>

#include "backflow/apps/files/gzip.h"
#include "backflow/apps/files/quote.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr std::size_t longest_line = 1 << 20;
constexpr Index most_rows = 0xffffffff;  // what Random::permutation() can order

std::string place_of(const std::filesystem::path& path, Index line) {
  return path.string() + ":" + std::to_string(line);
}

// The lines of a file, one after another, without their ends. Holds a piece of the file only.
class CsvLines {
 public:
  explicit CsvLines(const std::filesystem::path& path) : file_(path), stream_(file_) {}

  // Nothing at the end of the file. Valid until the next call.
  std::optional<std::string_view> next() {
    std::size_t end = buffer_.find('\n', at_);
    while (end == buffer_.npos && refill()) end = buffer_.find('\n', searched_);
    if (end == buffer_.npos) {
      if (at_ == buffer_.size()) return {};
      end = buffer_.size();
    }
    std::string_view line = std::string_view(buffer_).substr(at_, end - at_);
    at_ = std::min(end + 1, buffer_.size());
    ++number_;
    if (number_ == 1 && line.starts_with("\xef\xbb\xbf")) line.remove_prefix(3);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
  }

  Index number() const { return number_; }  // of the line that next() gave, from 1
  std::string place() const { return place_of(file_.path(), number_); }

 private:
  // Half a line moves to the front, and more of the file comes behind it.
  bool refill() {
    constexpr std::size_t piece = 1 << 18;
    buffer_.erase(0, std::exchange(at_, 0));
    searched_ = buffer_.size();
    if (searched_ > longest_line)
      fail(place_of(file_.path(), number_ + 1), "found a line of more than ", longest_line,
           " bytes, expected at most ", max_csv_columns, " numbers; is this a CSV file?");
    buffer_.resize(searched_ + piece);
    const auto to = reinterpret_cast<std::uint8_t*>(buffer_.data() + searched_);
    buffer_.resize(searched_ + stream_.read(to, piece));
    if (buffer_.size() > searched_) return true;
    if (!stream_.at_end())
      fail(file_.path().string(), "found other bytes after the gzip data, expected none");
    return false;
  }

  OpenFile file_;
  MaybeGzip stream_;
  std::string buffer_;
  std::size_t at_ = 0, searched_ = 0;
  Index number_ = 0;
};

bool is_space(char c, char separator) { return (c == ' ' || c == '\t') && c != separator; }

bool is_blank(std::string_view line, char separator) {
  return std::all_of(line.begin(), line.end(), [&](char c) { return is_space(c, separator); });
}

char separator_of(std::string_view line) {
  bool quoted = false, comma = false, tab = false;
  for (const char c : line) {
    if (c == '"') quoted = !quoted;
    if (quoted) continue;
    if (c == ';') return ';';
    comma = comma || c == ',';
    tab = tab || c == '\t';
  }
  return tab && !comma ? '\t' : ',';
}

const char* name_of_separator(char separator) {
  return separator == ',' ? "comma" : separator == ';' ? "semicolon" : "tab";
}

std::size_t skip_spaces(std::string_view line, std::size_t at, char separator) {
  while (at < line.size() && is_space(line[at], separator)) ++at;
  return at;
}

std::string_view trimmed(std::string_view text, char separator) {
  while (!text.empty() && is_space(text.front(), separator)) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back(), separator)) text.remove_suffix(1);
  return text;
}

// What is between the quotes; `at` moves from the first of them behind the last.
std::string quoted_cell(const std::string& where, std::string_view line, std::size_t& at) {
  for (std::string cell;; cell += '"') {
    const std::size_t end = line.find('"', ++at);
    if (end == line.npos)
      fail(where, "a cell in quotes does not end, expected another quote on its line");
    cell += line.substr(at, end - at);
    at = end + 1;
    if (at == line.size() || line[at] != '"') return cell;
  }
}

// The number, which may be infinite or NaN: as it is written, or because no double is as large.
// Nothing if the text is no number.
std::optional<double> number_in(std::string_view cell) {
  if (cell.size() > 1 && cell[0] == '+' && cell[1] != '-') cell.remove_prefix(1);
  double value = 0;
  const char* const end = cell.data() + cell.size();
  const auto [stop, error] = std::from_chars(cell.data(), end, value);
  if (stop != end || error == std::errc::invalid_argument) return {};
  // What is too small for a double is 0, not an error.
  if (error != std::errc()) return std::strtod(std::string(cell).c_str(), nullptr);
  return value;
}

// What programs write where there is no number.
bool is_missing(std::string_view cell) {
  std::string word(cell);
  for (char& c : word) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return word.empty() || word == "na" || word == "n/a" || word == "null" || word == "none" ||
         word == "?" || word == "-";
}

bool is_a_name(const std::string& cell) { return !number_in(cell) && !is_missing(cell); }

const char* hint_for(const std::string& cell) {
  if (is_missing(cell)) return "fill in the value or leave out the row";
  if (cell.find(',') != cell.npos) return "write decimals with a point";
  if (cell.find('\r') != cell.npos) return "end lines with \\n or \\r\\n";
  if (cell.find_first_of(" \t") != cell.npos)
    return "separate columns by commas, semicolons or tabs";
  return "leave out columns that are no numbers, or give them numbers";
}

double checked_number(const std::string& where, const std::string& column,
                      const std::string& cell) {
  const std::optional<double> value = number_in(cell);
  const std::string found =
      column + ": found " + (cell.empty() ? "nothing" : quote(cell)) + ", expected a ";
  if (!value) fail(where, found, "number; ", hint_for(cell));
  if (std::abs(*value) <= max_csv_number) return *value;
  const bool is_word = cell.find_first_of("0123456789") == cell.npos;
  if (is_word) fail(where, found, "finite number; fill in the value or leave out the row");
  fail(where, found, "number from ", -max_csv_number, " to ", max_csv_number, "; scale the column");
}

// The usual row, quickly. False, with nothing appended, if there is anything unusual about it.
bool append_plain_row(std::string_view line, char separator, Index columns,
                      std::vector<double>& values) {
  const std::size_t before = values.size();
  const char *at = line.data(), *const end = at + line.size();
  for (Index i = 0; i < columns; ++i) {
    while (at < end && is_space(*at, separator)) ++at;
    double value = 0;
    const auto [stop, error] = std::from_chars(at, end, value);
    at = stop;
    while (at < end && is_space(*at, separator)) ++at;
    const bool ended = i + 1 == columns ? at == end : at < end && *at == separator;
    if (error != std::errc() || !ended || !(std::abs(value) <= max_csv_number)) {
      values.resize(before);
      return false;
    }
    values.push_back(value);
    ++at;
  }
  return true;
}

void append_row(const std::string& where, std::string_view line, char separator, CsvTable& table) {
  const std::vector<std::string> cells = csv_cells(where, line, separator);
  if (std::ssize(cells) != table.columns())
    fail(where, "found ", cells.size(), cells.size() == 1 ? " cell" : " cells", ", expected ",
         table.columns(), " as in the first line; is a value missing, or a decimal comma there?");
  for (Index i = 0; i < table.columns(); ++i)
    table.values.push_back(
        checked_number(where, table.column(i), cells[static_cast<std::size_t>(i)]));
}

void set_names(const std::string& where, std::vector<std::string> cells, CsvTable& table) {
  if (std::ssize(cells) > max_csv_columns)
    fail(where, "found ", cells.size(), " columns, expected 1 to ", max_csv_columns,
         "; is this a table of numbers?");
  constexpr std::size_t shown = 24;  // of a name that may be a piece of a picture
  table.named = std::any_of(cells.begin(), cells.end(), is_a_name);
  for (std::size_t i = 0; i < cells.size(); ++i)
    if (!table.named || cells[i].empty()) cells[i] = std::to_string(i + 1);
  for (auto name = cells.begin(); name != cells.end(); ++name) {
    if (printable(*name) != *name)
      fail(where, "found the column name ", quote(name->substr(0, shown)),
           ", expected UTF-8 without control characters; is this a CSV file?");
    if (std::find(cells.begin(), name, *name) != name)
      fail(where, "two columns have the name ", quote(*name), ", expected all different");
  }
  table.names = std::move(cells);
}

void append_rows(CsvLines& lines, char separator, CsvTable& table) {
  std::string empty_line;  // the place of one that has something behind it
  while (const std::optional<std::string_view> line = lines.next()) {
    if (is_blank(*line, separator)) {
      if (empty_line.empty()) empty_line = lines.place();
      continue;
    }
    if (!empty_line.empty())
      fail(empty_line, "found an empty line, expected ", table.columns(),
           table.columns() == 1 ? " number" : " numbers", "; empty lines may only be the last");
    if (table.rows() == most_rows)
      fail(lines.place(), "found another row, expected at most ", most_rows);
    if (!append_plain_row(*line, separator, table.columns(), table.values))
      append_row(lines.place(), *line, separator, table);
  }
}

}  // namespace

std::string CsvTable::column(Index index) const {
  const std::string& name = names.at(static_cast<std::size_t>(index));
  return "column " + (named ? quote(name) : name);
}

std::string CsvTable::place(Index row) const { return place_of(path, row + 1 + named); }

std::vector<std::string> csv_cells(const std::string& where, std::string_view line,
                                   char separator) {
  std::vector<std::string> cells;
  for (std::size_t at = 0;; ++at) {
    at = skip_spaces(line, at, separator);
    if (at < line.size() && line[at] == '"') {
      cells.emplace_back(trimmed(quoted_cell(where, line, at), separator));
      at = skip_spaces(line, at, separator);
      if (at < line.size() && line[at] != separator)
        fail(where, "found ", quote(line.substr(at)), " behind a cell in quotes, expected a ",
             name_of_separator(separator), " or the end of the line");
    } else {
      const std::size_t end = std::min(line.find(separator, at), line.size());
      cells.emplace_back(trimmed(line.substr(at, end - at), separator));
      at = end;
    }
    if (at >= line.size()) return cells;
  }
}

std::string csv_cell(const std::string& text) {
  if (text.find_first_of(",;\t\"") == text.npos) return text;
  std::string cell = "\"";
  for (const char c : text) cell += c == '"' ? "\"\"" : std::string(1, c);
  return cell + '"';
}

CsvTable load_csv(const std::filesystem::path& path) {
  CsvTable table;
  table.path = path;
  CsvLines lines(path);
  const std::optional<std::string_view> first = lines.next();
  if (!first) fail(path.string(), "the file is empty, expected rows of numbers");
  const char separator = separator_of(*first);
  if (is_blank(*first, separator))
    fail(lines.place(), "found an empty line, expected names or numbers");
  set_names(lines.place(), csv_cells(lines.place(), *first, separator), table);
  if (!table.named) append_row(lines.place(), *first, separator, table);
  append_rows(lines, separator, table);
  return table;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/apps/zoo/table.h"

#include <zlib.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <sstream>

#include "backflow/apps/data/csv.h"
#include "backflow/apps/data/purposes.h"
#include "backflow/apps/files/numbers.h"
#include "backflow/apps/files/quote.h"
#include "backflow/apps/model/nearest.h"
#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

constexpr Index parts = 10;  // one of them for validation, one for testing
constexpr Index least_rows = 2 * parts, least_rows_of_part = 2;
// Beyond it no model of the training rows says anything, and squares leave float's range.
constexpr double most_deviations = 1e9;

// Some of a table's rows.
struct TableRows {
  const CsvTable& table;
  std::vector<std::uint32_t> indices;

  Index count() const { return std::ssize(indices); }
  const double* row(Index i) const {
    return table.values.data() + indices[static_cast<std::size_t>(i)] * table.names.size();
  }
};

// ---- Which rows are for what ------------------------------------------------------------------

TableRows all_rows(const CsvTable& table) {
  TableRows rows{table, std::vector<std::uint32_t>(static_cast<std::size_t>(table.rows()))};
  std::iota(rows.indices.begin(), rows.indices.end(), 0u);
  return rows;
}

void check_rows(const CsvTable& table, Index least, const char* what_for) {
  if (table.rows() >= least) return;
  fail(table.path.string(), "found ", table.rows(), table.rows() == 1 ? " row" : " rows",
       " of numbers, expected at least ", least, ": ", what_for);
}

std::array<TableRows, 3> cut_by_chance(const CsvTable& table, Index seed) {
  check_rows(table, least_rows,
             "a tenth of them is to choose the best by, a tenth to report, the rest to train with");
  // Epoch 0: those of training are counted from 1.
  const Random random(static_cast<std::uint64_t>(seed), purposes::shuffling);
  std::vector<std::uint32_t> order = random.permutation(static_cast<std::uint32_t>(table.rows()));
  const auto test = order.end() - table.rows() / parts, validation = test - table.rows() / parts;
  const auto rows = [&](auto begin, auto end) {
    std::sort(begin, end);
    return TableRows{table, {begin, end}};
  };
  return {rows(order.begin(), validation), rows(validation, test), rows(test, order.end())};
}

// ---- The columns ------------------------------------------------------------------------------

[[noreturn]] void fail_for_unknown(const CsvTable& table, const std::string& name) {
  fail("--context", table.path.string(), " has no column ", quote(name, '\''),
       table.named ? "" : " (it has no names, so its columns are counted from 1)",
       "; did you mean '", printable(nearest(name.substr(0, 80), table.names)), "'?");
}

// Whether each column is a context.
std::vector<bool> contexts_of(const CsvTable& table, const std::string& context) {
  std::vector<bool> chosen(table.names.size());
  if (context.empty()) return chosen;
  for (const std::string& name : csv_cells("--context", context)) {
    const auto found = std::find(table.names.begin(), table.names.end(), name);
    if (found == table.names.end()) fail_for_unknown(table, name);
    const auto place = chosen.begin() + (found - table.names.begin());
    if (*place) fail("--context", "found the column ", quote(name, '\''), " twice");
    *place = true;
  }
  if (std::find(chosen.begin(), chosen.end(), false) == chosen.end())
    fail("--context", "all columns of ", table.path.string(), " are the context, expected",
         " at least one that the flow is a density of");
  return chosen;
}

// The columns' means: from the distances to the first row, which are exact where a large number is
// much the same in all rows.
std::vector<double> means_of(const TableRows& rows) {
  const double* const first = rows.row(0);
  std::vector<double> means(rows.table.names.size());
  for (Index i = 0; i < rows.count(); ++i)
    for (std::size_t j = 0; j < means.size(); ++j) means[j] += rows.row(i)[j] - first[j];
  for (std::size_t j = 0; j < means.size(); ++j)
    means[j] = first[j] + means[j] / static_cast<double>(rows.count());
  return means;
}

std::vector<double> deviations_of(const TableRows& rows, const std::vector<double>& means) {
  std::vector<double> squares(means.size());
  for (Index i = 0; i < rows.count(); ++i)
    for (std::size_t j = 0; j < means.size(); ++j) {
      const double distance = rows.row(i)[j] - means[j];
      squares[j] += distance * distance;
    }
  for (double& sum : squares) sum = std::sqrt(sum / static_cast<double>(rows.count()));
  return squares;
}

void check_varies(const TableRows& rows, std::size_t column, double deviation) {
  constexpr double least = 1e-100;  // the squares of less are no double
  const std::string& where = rows.table.path.string();
  const std::string name = rows.table.column(static_cast<Index>(column));
  const double first = rows.row(0)[column];
  bool varies = false;
  for (Index i = 1; i < rows.count() && !varies; ++i) varies = rows.row(i)[column] != first;
  if (!varies)
    fail(where, name, " is ", first, " in all ", rows.count(),
         " rows to train with, expected numbers that differ; leave out the column");
  if (!(deviation >= least))
    fail(where, name, " varies by less than ", least, ", expected more; scale the column");
}

TableColumns columns_of(const TableRows& rows, const std::string& context) {
  const std::vector<bool> contexts = contexts_of(rows.table, context);
  const std::vector<double> means = means_of(rows), deviations = deviations_of(rows, means);
  TableColumns columns{{}, rows.table.named};
  for (std::size_t i = 0; i < means.size(); ++i) {
    check_varies(rows, i, deviations[i]);
    columns.all.push_back({rows.table.names[i], means[i], deviations[i], contexts[i]});
  }
  return columns;
}

// ---- The values -------------------------------------------------------------------------------

[[noreturn]] void fail_for_outlier(const TableRows& rows, Index row, std::size_t column,
                                   double distance) {
  const CsvTable& table = rows.table;
  fail(table.place(rows.indices[static_cast<std::size_t>(row)]),
       table.column(static_cast<Index>(column)), ": found ", rows.row(row)[column], ", which is ",
       std::abs(distance), " standard deviations from the mean of the rows to train with, expected",
       " at most ", most_deviations, "; does it stand for a missing value?");
}

// The columns that are a context, or those that are none; undefined if there are none of them.
Tensor standardised(const TableRows& rows, const TableColumns& columns, bool context) {
  const Index width = context ? columns.contexts() : columns.dimensions();
  if (width == 0) return {};
  Tensor out = Tensor::empty({rows.count(), width});
  Real* to = out.mutable_data();
  for (Index i = 0; i < rows.count(); ++i)
    for (std::size_t j = 0; j < columns.all.size(); ++j) {
      const TableColumn& column = columns.all[j];
      if (column.context != context) continue;
      const double z = (rows.row(i)[j] - column.mean) / column.deviation;
      if (!(std::abs(z) <= most_deviations)) fail_for_outlier(rows, i, j, z);
      *to++ = static_cast<Real>(z);
    }
  return out;
}

std::uint32_t checksum(const TableRows& rows) {
  const std::size_t size = rows.table.names.size() * sizeof(double);
  uLong crc = crc32_z(0, nullptr, 0);
  for (Index i = 0; i < rows.count(); ++i)
    crc = crc32_z(crc, reinterpret_cast<const Bytef*>(rows.row(i)), size);
  return static_cast<std::uint32_t>(crc);
}

TableSplits splits_of(const TableRows& train, const TableRows& validation, const TableRows& test,
                      const std::string& context) {
  TableSplits splits;
  splits.columns = columns_of(train, context);
  const auto split = [&](const TableRows& rows) {
    return TableSplit{standardised(rows, splits.columns, false),
                      standardised(rows, splits.columns, true), checksum(rows)};
  };
  splits.train = split(train);
  splits.validation = split(validation);
  splits.test = split(test);
  return splits;
}

// ---- Three files ------------------------------------------------------------------------------

void check_same_columns(const CsvTable& table, const CsvTable& train) {
  const std::string path = table.path.string();
  if (table.columns() != train.columns())
    fail(path, "found ", table.columns(), table.columns() == 1 ? " column" : " columns",
         ", expected ", train.columns(), " as in ", train.path.string());
  if (table.named != train.named)
    fail(path, "found ", table.named ? "a" : "no", " line of names, expected ",
         train.named ? "one" : "none", " as in ", train.path.string());
  for (std::size_t i = 0; i < table.names.size(); ++i)
    if (table.names[i] != train.names[i])
      fail(path, "column ", i + 1, " is ", quote(table.names[i]), ", expected ",
           quote(train.names[i]), " as in ", train.path.string());
}

CsvTable load_part(const std::filesystem::path& path) {
  CsvTable table = load_csv(path);
  check_rows(table, least_rows_of_part, "a spread has no meaning with fewer");
  return table;
}

TableSplits load_three(const TableOptions& options) {
  const CsvTable train = load_part(options.train);
  const CsvTable validation = load_part(options.validation);
  check_same_columns(validation, train);
  const CsvTable test = load_part(options.test);
  check_same_columns(test, train);
  return splits_of(all_rows(train), all_rows(validation), all_rows(test), options.context);
}

void check_files(const TableOptions& options) {
  const bool one = !options.data.empty();
  const bool train = !options.train.empty(), validation = !options.validation.empty(),
             test = !options.test.empty();
  const char* const expected =
      "expected either --data, or --train, --validation and --test together";
  if (one && (train || validation || test))
    fail(train        ? "--train"
         : validation ? "--validation"
                      : "--test",
         "found beside --data, ", expected);
  if (!one && !(train && validation && test))
    fail(!train ? "--train" : !validation ? "--validation" : "--test", "is missing, ", expected);
}

// ---- As text ----------------------------------------------------------------------------------

constexpr const char *head = "column,mean,deviation,role",
                     *head_unnamed = "number,mean,deviation,role";

std::string exact(double value) {  // the shortest text that reads back as the same bits
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

TableColumn column_in(const std::string& where, const std::string& line) {
  const std::vector<std::string> cells = csv_cells(where, line);
  const auto number = [&](std::size_t i) { return to_number<double>(cells[i]); };
  const bool known = cells.size() == 4 && number(1) && number(2) && *number(2) > 0 &&
                     (cells[3] == "x" || cells[3] == "context");
  if (!known || printable(cells[0]) != cells[0])
    fail(where, "found ", quote(line), " in the description of the table, expected ", head);
  return {cells[0], *number(1), *number(2), cells[3] == "context"};
}

// Digits that tell apart what is as near as a Real's rounding of z.
int digits_of(const TableColumn& column) {
  const double ratio = std::max(1.0, std::abs(column.mean) / column.deviation);
  const double digits = std::numeric_limits<Real>::max_digits10 + std::ceil(std::log10(ratio));
  return static_cast<int>(std::min(17.0, digits));
}

void append_number(double value, int digits, std::string& to) {
  char text[64];
  to.append(text,
            std::to_chars(text, text + sizeof text, value, std::chars_format::general, digits).ptr);
}

void check_samples(const TableColumns& columns, const Tensor& x, const Tensor& context) {
  const auto check = [&](const Tensor& values, const char* what, Index width) {
    if (!values.defined() || values.rank() != 2 || values.size(1) != width)
      fail("to_csv", what, " has the shape ", values.shape(), ", expected (n, ", width, ")");
  };
  check(x, "x", columns.dimensions());
  if (columns.contexts() == 0) {
    if (context.defined()) fail("to_csv", "found a context, expected none: no column is one");
    return;
  }
  check(context, "the context", columns.contexts());
  if (context.size(0) != x.size(0))
    fail("to_csv", context.size(0), " contexts for ", x.size(0), " examples");
}

}  // namespace

Index TableColumns::contexts() const {
  return std::count_if(all.begin(), all.end(), [](const auto& column) { return column.context; });
}

Index TableColumns::dimensions() const { return std::ssize(all) - contexts(); }

double TableColumns::log_scale() const {
  double sum = 0;
  for (const TableColumn& column : all)
    if (!column.context) sum += std::log(column.deviation);
  return sum;
}

std::string to_text(const TableColumns& columns) {
  std::string text = columns.named ? head : head_unnamed;
  for (const TableColumn& column : columns.all) {
    text += "\n" + csv_cell(column.name) + "," + exact(column.mean) + ",";
    text += exact(column.deviation) + "," + (column.context ? "context" : "x");
  }
  return text;
}

TableColumns table_columns_from_text(const std::string& where, const std::string& text) {
  std::istringstream lines(text);
  std::string line;
  std::getline(lines, line);
  if (line != head && line != head_unnamed)
    fail(where, "found ", quote(line), " where the table is described, expected ", head);
  TableColumns columns{{}, line == head};
  while (std::getline(lines, line)) {
    columns.all.push_back(column_in(where, line));
    if (std::ssize(columns.all) > max_csv_columns)
      fail(where, "the table has more columns than the most, ", max_csv_columns);
  }
  if (columns.dimensions() < 1)
    fail(where, "the table has no columns that are no context, expected one at least");
  return columns;
}

TableSplits load_table(const TableOptions& options) {
  check_files(options);
  if (options.data.empty()) return load_three(options);
  const CsvTable table = load_csv(options.data);
  const auto [train, validation, test] = cut_by_chance(table, options.seed);
  return splits_of(train, validation, test, options.context);
}

std::string to_csv(const TableColumns& columns, const Tensor& x, const Tensor& context) {
  check_samples(columns, x, context);
  std::string text;
  const auto separator = [&](std::size_t i) { return i + 1 < columns.all.size() ? ',' : '\n'; };
  if (columns.named)
    for (std::size_t i = 0; i < columns.all.size(); ++i)
      text += csv_cell(columns.all[i].name) + separator(i);
  const Real *from_x = x.data(), *from_context = context.defined() ? context.data() : nullptr;
  for (Index row = 0; row < x.size(0); ++row)
    for (std::size_t i = 0; i < columns.all.size(); ++i) {
      const TableColumn& column = columns.all[i];
      const double z = column.context ? *from_context++ : *from_x++;
      append_number(column.mean + column.deviation * z, digits_of(column), text);
      text += separator(i);
    }
  return text;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

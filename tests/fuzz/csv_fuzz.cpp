// load_csv, load_table and table_columns_from_text: what is accepted is a table of finite numbers
// with different names, is the same when it was written anew, and standardises to finite numbers.
#include <cmath>
#include <set>

#include "backflow/apps/data/csv.h"
#include "backflow/apps/zoo/table.h"
#include "backflow/tests/fuzz/fuzz.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

void check(const CsvTable& table) {
  promise(table.columns() >= 1 && table.columns() <= max_csv_columns, "there are 1 to 200 columns");
  promise(std::ssize(table.values) == table.rows() * table.columns(), "all rows are as long");
  promise(std::ssize(std::set(table.names.begin(), table.names.end())) == table.columns(),
          "all names are different");
  for (const double value : table.values)
    promise(std::abs(value) <= max_csv_number, "the numbers are within their bounds");
}

std::string text_of(const CsvTable& table) {
  std::string text = "\xef\xbb\xbf";  // a name may begin with another
  const auto end = [&](std::size_t i) { return (i + 1) % table.names.size() ? ',' : '\n'; };
  if (table.named)
    for (std::size_t i = 0; i < table.names.size(); ++i) text += csv_cell(table.names[i]) + end(i);
  char number[32];
  for (std::size_t i = 0; i < table.values.size(); ++i) {
    std::snprintf(number, sizeof number, "%.17g", table.values[i]);
    text += number + std::string(1, end(i));
  }
  return text;
}

void survive_as_text(const CsvTable& table) {
  const auto again = accepted([&] { return load_csv(file_of(text_of(table))); });
  promise(again && again->names == table.names && again->values == table.values &&
              again->named == table.named,
          "a table survives as text");
}

void check_finite(const Tensor& x) {
  if (x.defined())
    for (const Real value : x.values()) promise(std::isfinite(value), "standardised is finite");
}

void standardise(std::string_view bytes, const std::string& context) {
  TableOptions options;
  options.data = file_of(bytes);
  options.context = context;
  const auto splits = accepted([&] { return load_table(options); });
  if (!splits) return;
  for (const TableSplit* split : {&splits->train, &splits->validation, &splits->test})
    check_finite(split->x), check_finite(split->context);
  promise(std::isfinite(splits->columns.log_scale()), "the log-determinant is finite");
  const std::string samples = to_csv(splits->columns, splits->test.x, splits->test.context);
  promise(!samples.empty(), "samples are written");
}

void read_description(const std::string& text) {
  const auto columns = accepted([&] { return table_columns_from_text("input", text); });
  if (!columns) return;
  const std::string again = to_text(*columns);
  promise(to_text(table_columns_from_text("output", again)) == again,
          "a description survives as text");
  to_csv(*columns, Tensor::full({2, columns->dimensions()}, 1),
         columns->contexts() ? Tensor::zeros({2, columns->contexts()}) : Tensor());
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace backflow;
  const std::string bytes(text_of(data, size));
  const auto table = accepted([&] { return load_csv(file_of(bytes)); });
  if (table) {
    check(*table);
    survive_as_text(*table);
    standardise(bytes, "");
    standardise(bytes, csv_cell(table->names.back()));
  }
  read_description(bytes);
  return 0;
}

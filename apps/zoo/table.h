// A user's table of numbers as data for a flow: cut into rows to train with, to choose the best by,
// and to report; each column standardised by its mean and standard deviation over the training
// rows; some of the columns, if asked, as the context.
//
// With x = mean + deviation * z, a flow that gives z the density q gives x the density
//
//   log p(x) = log q(z) - sum_i log deviation_i     (nats, over the columns that are no context)
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "backflow/engine/tensor.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct TableColumn {
  std::string name;
  double mean = 0, deviation = 1;  // the deviation is divided by n, not n - 1
  bool context = false;
};

// What a run keeps of its table: enough to write samples in the units of the data.
struct TableColumns {
  std::vector<TableColumn> all;  // in the table's order; at least one is no context
  bool named = false;            // whether the names are the file's; else they are "1", "2", ...

  Index dimensions() const;  // columns that are no context
  Index contexts() const;    // columns that are
  double log_scale() const;  // sum of log deviation over the dimensions, nats
};

// One text of a few lines, with the numbers to the last bit. Reading throws an Error naming `where`
// for what to_text() never writes.
std::string to_text(const TableColumns& columns);
TableColumns table_columns_from_text(const std::string& where, const std::string& text);

struct TableOptions {
  std::filesystem::path data;                     // either one file,
  std::filesystem::path train, validation, test;  // or three with the same columns
  std::string context;  // names separated by commas (in quotes, if they have some); or ""
  Index seed = 0;       // which rows of the one file are for what
};

struct TableSplit {
  Tensor x;                    // (n, dimensions), standardised
  Tensor context;              // (n, contexts), standardised; undefined without contexts
  std::uint32_t checksum = 0;  // CRC-32 of the numbers in the file: tells other data
};

struct TableSplits {
  TableSplit train, validation, test;
  TableColumns columns;
};

// Of one file, a tenth of the rows (rounded down) is for validation, a tenth for testing and the
// rest for training: a function of the seed and the number of rows. Each part keeps the order of
// the file.
//
// Throws an Error of load_csv(), and one that names file and column when a column is constant, a
// context is none of the columns, the three files have other columns, there are too few rows (20 of
// one file, 2 in each of three), or a value is more than a billion deviations from the mean.
TableSplits load_table(const TableOptions& options);

// As a table with the columns in their order and the units of the data, and the names if the file
// had them; x and context as in a TableSplit. No other digits than what x resolves.
std::string to_csv(const TableColumns& columns, const Tensor& x, const Tensor& context = {});

}  // namespace backflow::inline BACKFLOW_PRECISION

// Tables of what can be named: layers, activations, optimizers, ... Each row has a name and a line
// of help; what reads names (validation, --help, suggestions, listings, builders) reads the rows.
#pragma once

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include "backflow/apps/files/quote.h"
#include "backflow/apps/model/nearest.h"

namespace backflow::inline BACKFLOW_PRECISION {

inline std::string in_words(const std::vector<std::string>& names) {  // "exact, emerging, conv1x1"
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

template <class Row>  // a struct with the members name and help
class Table {
 public:
  // `what` the rows are, as a message says it: the key of the configuration. Fails for a name that
  // occurs twice, and for a table without rows.
  Table(std::string what, std::vector<Row> rows) : what_(std::move(what)), rows_(std::move(rows)) {
    if (rows_.empty()) fail(what_, "the table has no rows");
    for (const Row& row : rows_)
      if (find(row.name) != &row) fail(what_, "two rows have the name '", row.name, "'");
  }

  const std::string& what() const { return what_; }
  const std::vector<Row>& rows() const { return rows_; }

  bool contains(const std::string& name) const { return find(name) != nullptr; }

  // Fails: "[layer] expected one of exact, self_normalizing, got 'exat'; did you mean 'exact'?"
  const Row& operator[](const std::string& name) const {
    if (const Row* row = find(name)) return *row;
    fail(what_, not_found(name));
  }
  // The same without the key: "expected one of ...".
  std::string not_found(const std::string& name) const {
    return "expected one of " + in_words() + ", got " + quote(name, '\'') + "; did you mean '" +
           nearest(name, names()) + "'?";
  }

  // The rows for which condition(row) holds: one at least.
  template <class Condition>
  Table where(const Condition& condition) const {
    std::vector<Row> rows;
    std::ranges::copy_if(rows_, std::back_inserter(rows), condition);
    return Table(what_, std::move(rows));
  }

  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const Row& row : rows_) all.emplace_back(row.name);
    return all;
  }
  std::string in_words() const { return backflow::in_words(names()); }

 private:
  const Row* find(const std::string& name) const {
    const auto found =
        std::find_if(rows_.begin(), rows_.end(), [&](const Row& row) { return row.name == name; });
    return found == rows_.end() ? nullptr : &*found;
  }

  std::string what_;
  std::vector<Row> rows_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

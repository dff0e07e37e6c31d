#include "backflow/apps/files/columns.h"

#include <algorithm>

namespace backflow::inline BACKFLOW_PRECISION {

static std::size_t width_of(const Column& column) {
  std::size_t widest = 0;
  for (const std::string& cell : column.cells) widest = std::max(widest, cell.size());
  return widest;
}

std::string in_columns(const std::vector<Column>& columns, const std::string& indent) {
  std::string text;
  for (std::size_t row = 0; row < columns[0].cells.size(); ++row) {
    std::string line = indent;
    for (const Column& column : columns) {
      if (width_of(column) == 0) continue;
      const std::string& cell = column.cells[row];
      const std::string space(width_of(column) - cell.size(), ' ');
      line += (column.numbers ? space + cell : cell + space) + "  ";
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

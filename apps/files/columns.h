// Cells as lines of text, for people to read.
#pragma once

#include <string>
#include <vector>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Column {
  std::vector<std::string> cells;
  bool numbers = false;  // which stand at its right
};

// A line for each row, each column as wide as its widest cell, with two spaces between them; empty
// columns are left out. All have as many cells.
std::string in_columns(const std::vector<Column>& columns, const std::string& indent = "");

}  // namespace backflow::inline BACKFLOW_PRECISION

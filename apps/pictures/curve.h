// The learning curve of a run: its metrics.csv drawn by gnuplot.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// A dashed horizontal line, such as the paper's result.
struct ReferenceLine {
  double value;
  std::string label;
};

// Draws the columns validation_nll and test_nll of a CSV file against its column epoch; cells that
// hold no finite number are left out. False, with no picture written, when there is nothing to draw
// or gnuplot is missing or fails: a picture is a convenience, the CSV file is the result. Throws an
// Error when that cannot be read or the picture cannot be written.
bool plot_curve(const std::filesystem::path& metrics_csv, const std::filesystem::path& png,
                const std::string& title, const std::optional<ReferenceLine>& reference = {});

}  // namespace backflow::inline BACKFLOW_PRECISION

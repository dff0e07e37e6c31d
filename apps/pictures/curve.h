// The learning curve of a run, drawn by gnuplot.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// A dashed horizontal line, such as the paper's result.
struct ReferenceLine {
  double value;
  std::string label;
};

// What the axes are, for another run than one on images.
struct CurveAxes {
  std::string time = "epoch", loss = "exact NLL, nats per image";
};

struct CurvePoint {
  double epoch;  // or whatever the time is
  double validation_nll;
  std::optional<double> test_nll;
};

// Draws both NLLs against the time; what is not finite is left out. In a long run the first epochs
// would leave the rest a flat line at the bottom: the picture then ends where the NLL was after ten
// epochs, or after 3% of a longer run, and says how many points lie above. False, with no picture
// written, when there is nothing to draw or gnuplot is missing or fails: a picture is a
// convenience. Throws an Error when it cannot be written.
bool plot_curve(const std::vector<CurvePoint>& points, const std::filesystem::path& png,
                const std::string& title, const std::optional<ReferenceLine>& reference = {},
                const CurveAxes& axes = {});

}  // namespace backflow::inline BACKFLOW_PRECISION

// Plots drawn by gnuplot, run as a program, in one style.
#pragma once

#include <filesystem>
#include <string>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Any text as a string in a script.
std::string plot_string(const std::string& text);

// How a script begins: the kind of picture, fonts, colours of the frame, the title.
std::string plot_style(const std::string& title);

// The PNG file that the script draws. Empty when gnuplot is missing or fails.
std::string draw_plot(const std::string& script);

// Runs the script and writes what it draws. False, with an old picture left as it was, when gnuplot
// is missing or fails: a picture is a convenience, the numbers are the result. Throws an Error when
// the picture cannot be written.
bool draw_plot(const std::string& script, const std::filesystem::path& png);

}  // namespace backflow::inline BACKFLOW_PRECISION

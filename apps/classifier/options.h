// What the program classifier is asked for, and how it answers a command line.
//
// Exit codes: 0 done; 2 bad input, said in one line.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Options {
  std::string dataset = "mnist";  // or fashion_mnist: where to look for data, and how to get them
  std::filesystem::path data;     // empty: the data set's default directory
  std::filesystem::path out = "runs/classifier";
  Index epochs = 5;
  Index limit = 0;  // the first so many images of each file; 0: all
  std::uint64_t seed = 0;
};

// The whole of main: reads the options (--threads acts at once), does the work, and turns what was
// thrown into a line on stderr. Returns the exit code.
int run_program(int argc, char** argv, const std::function<void(const Options&)>& work);

}  // namespace backflow::inline BACKFLOW_PRECISION

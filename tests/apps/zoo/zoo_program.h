// The program zoo as its users meet it, in a directory of its own that holds a small table.
#pragma once

#include "backflow/tests/apps/snf/program_output.h"

namespace backflow::inline BACKFLOW_PRECISION {

class ZooProgram : public Snf {
 public:
  ZooProgram() : Snf(ZOO_PROGRAM, "zoo") {
    std::string table = "mass,charge,spin\n";
    const Tensor x = Random(5).normal({100, 3});
    for (Index i = 0; i < 100; ++i)
      table += std::to_string(x[3 * i]) + "," + std::to_string(x[3 * i] + x[3 * i + 1]) + "," +
               std::to_string(100 + 5 * x[3 * i + 2]) + "\n";
    write("table.csv", table);
  }
};

// metrics.csv without its columns of times.
inline std::string timeless_metrics(const fs::path& run) {
  std::istringstream lines(read_file(run / "metrics.csv"));
  std::string all;
  for (std::string line; std::getline(lines, line);)
    all += line.substr(0, line.rfind(',', line.rfind(',') - 1)) + "\n";
  return all;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

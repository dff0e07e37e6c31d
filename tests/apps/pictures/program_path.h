// Where programs are looked for: so a test can be without gnuplot, or with one of its own.
#pragma once

#include <cstdlib>
#include <string>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// A search path for programs, as long as it lives.
class ProgramPath {
 public:
  explicit ProgramPath(const std::string& path) : old_(std::getenv("PATH")) {
    setenv("PATH", path.c_str(), 1);
  }
  ~ProgramPath() { setenv("PATH", old_.c_str(), 1); }
  ProgramPath(const ProgramPath&) = delete;
  ProgramPath& operator=(const ProgramPath&) = delete;

 private:
  std::string old_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

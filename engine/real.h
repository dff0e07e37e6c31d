// The one scalar type, and the one way to fail.
//
// The same sources are built twice: as float (namespace f32) and as double (f64). The inline
// namespace makes mixing the two a link error.
#pragma once

#if __cplusplus < 202002L
#error "backflow is C++20: compile with -std=c++20"
#endif

#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <string>

#ifdef BACKFLOW_DOUBLE
#define BACKFLOW_PRECISION f64
#else
#define BACKFLOW_PRECISION f32
#endif

namespace backflow::inline BACKFLOW_PRECISION {

#ifdef BACKFLOW_DOUBLE
using Real = double;
#else
using Real = float;
#endif

using Index = std::int64_t;

// Thrown at the call that is wrong; what() is one line: "[matmul] inner sizes differ: ...".
struct Error : std::runtime_error {
  using std::runtime_error::runtime_error;
};

template <class... Parts>
[[noreturn]] void fail(const std::string& where, const Parts&... parts) {
  std::ostringstream line;
  line << '[' << where << "] ";
  (line << ... << parts);
  throw Error(line.str());
}

}  // namespace backflow::inline BACKFLOW_PRECISION

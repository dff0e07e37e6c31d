// Numbers and words in lines of text.
#pragma once

#include <cstdio>
#include <string>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// An Index as printf's %lld takes it.
inline long long number(Index n) { return static_cast<long long>(n); }

// printf into a string of any length.
template <class... Values>
std::string text(const char* format, const Values&... values) {
  std::string out(static_cast<std::size_t>(std::snprintf(nullptr, 0, format, values...)), '\0');
  std::snprintf(out.data(), out.size() + 1, format, values...);
  return out;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

// The one way in which numbers are written, on the command line and in files.
#pragma once

#include <charconv>
#include <cmath>
#include <optional>
#include <string_view>
#include <type_traits>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Decimal, finite, and the whole text: no space, no plus sign, no 0x. None otherwise, or when it is
// out of the type's range.
template <class Number>
std::optional<Number> to_number(std::string_view text) {
  Number value{};
  const char* end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, value);
  if (parsed.ec != std::errc() || parsed.ptr != end) return {};
  if constexpr (std::is_floating_point_v<Number>) {
    if (!std::isfinite(value)) return {};
  }
  return value;
}

// A count as printf's %lld wants it: where an Index is a long, the compiler would warn.
inline long long number(Index n) { return static_cast<long long>(n); }

}  // namespace backflow::inline BACKFLOW_PRECISION

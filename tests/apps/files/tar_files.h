// Small tar archives for tests: members, one after another, and the end.
#pragma once

#include <cstdio>
#include <string>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct TarKind {
  char type = '0';
  std::string prefix = "";  // of the name, in a field of its own
};

inline std::string tar_member(const std::string& name, const std::string& contents,
                              const TarKind& kind = {}) {
  std::string header(512, '\0');
  const auto put = [&](std::size_t at, const std::string& text) {
    header.replace(at, text.size(), text);
  };
  const auto octal = [](std::size_t value, int digits) {
    char text[32];
    std::snprintf(text, sizeof text, "%0*zo", digits, value);
    return std::string(text);
  };
  put(0, name.substr(0, 100));
  put(100, "0000644");
  put(124, octal(contents.size(), 11));
  put(148, "        ");
  put(156, std::string(1, kind.type));
  put(257, std::string("ustar\0"
                       "00",
                       8));
  put(345, kind.prefix);
  std::size_t sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  put(148, octal(sum, 6) + '\0');
  return header + contents + std::string((512 - contents.size() % 512) % 512, '\0');
}

inline std::string tar_end() { return std::string(1024, '\0'); }

}  // namespace backflow::inline BACKFLOW_PRECISION

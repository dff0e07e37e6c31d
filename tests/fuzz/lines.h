// Inputs that are lines KEY=VALUE.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace backflow {

// Lines without '=' are left out.
inline std::vector<std::pair<std::string, std::string>> assignments_in(std::string_view lines) {
  std::vector<std::pair<std::string, std::string>> all;
  while (!lines.empty()) {
    const std::string_view line = lines.substr(0, lines.find('\n'));
    if (const std::size_t end = line.find('='); end != line.npos)
      all.emplace_back(line.substr(0, end), line.substr(end + 1));
    lines.remove_prefix(std::min(line.size() + 1, lines.size()));
  }
  return all;
}

}  // namespace backflow

#include "backflow/apps/model/nearest.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace backflow::inline BACKFLOW_PRECISION {

static std::size_t edit_distance(const std::string& a, const std::string& b) {
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row.back();
}

std::string nearest(const std::string& typed, const std::vector<std::string>& words) {
  return *std::min_element(words.begin(), words.end(), [&](const auto& a, const auto& b) {
    return edit_distance(typed, a) < edit_distance(typed, b);
  });
}

}  // namespace backflow::inline BACKFLOW_PRECISION

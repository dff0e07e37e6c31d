#include "backflow/apps/model/nearest.h"

#include <algorithm>
#include <numeric>
#include <utility>

namespace backflow::inline BACKFLOW_PRECISION {

// The distance to the nearest prefix of the word, and to the whole of it.
static std::pair<std::size_t, std::size_t> edit_distances(const std::string& typed,
                                                          const std::string& word) {
  std::vector<std::size_t> row(word.size() + 1);  // to each prefix, from what was read of `typed`
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= typed.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= word.size(); ++j) {
      const std::size_t replaced = diagonal + (typed[i - 1] != word[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return {*std::min_element(row.begin(), row.end()), row.back()};
}

std::string nearest(const std::string& typed, const std::vector<std::string>& words) {
  return *std::min_element(words.begin(), words.end(), [&](const auto& a, const auto& b) {
    return edit_distances(typed, a) < edit_distances(typed, b);
  });
}

}  // namespace backflow::inline BACKFLOW_PRECISION

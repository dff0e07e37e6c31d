// What somebody may have meant.
#pragma once

#include <string>
#include <vector>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The word with the fewest insertions, deletions and replacements between it and `typed`
// (Levenshtein's distance); the first of several. `words` must not be empty.
std::string nearest(const std::string& typed, const std::vector<std::string>& words);

}  // namespace backflow::inline BACKFLOW_PRECISION

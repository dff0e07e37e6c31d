// What somebody may have meant.
#pragma once

#include <string>
#include <vector>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The word whose beginning is nearest to `typed`, for people leave off the end of long words: the
// one with the fewest insertions, deletions and replacements (Levenshtein's distance) between
// `typed` and a prefix of it. Of several the one that is nearest as a whole, then the first.
// `words` must not be empty.
std::string nearest(const std::string& typed, const std::vector<std::string>& words);

}  // namespace backflow::inline BACKFLOW_PRECISION

// Text from files, on its way to a terminal.
#pragma once

#include <string>
#include <string_view>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

// The text with every control character (of ASCII and of Unicode's C1 block), every character that
// changes the direction of writing, and every byte that is no UTF-8 written as \n, \x1b or
// \u202e: what a terminal would obey instead of showing it. Backslashes stay as they are.
std::string printable(std::string_view text);

// The same between quotes, cut to a line's worth: "name", or "the first words..." (N bytes).
std::string quote(std::string_view text, char mark = '"');

// The text as one word of a command line, for people to copy.
std::string shell_word(const std::string& text);

}  // namespace backflow::inline BACKFLOW_PRECISION

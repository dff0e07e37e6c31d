#include "backflow/apps/files/quote.h"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace backflow::inline BACKFLOW_PRECISION {

// The bytes of the character that `text` begins with, and its code point; 0 bytes if that is no
// UTF-8: a stray or missing continuation, a longer form than needed, a surrogate, beyond U+10FFFF.
static std::pair<std::size_t, std::uint32_t> first_character(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return {1, lead};
  const std::size_t size = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < size) return {0, lead};
  std::uint32_t code = lead & (0xff >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return {0, lead};
    code = code << 6 | (byte(i) & 0x3f);
  }
  const std::uint32_t least[] = {0x80, 0x800, 0x10000};
  const bool bad = code < least[size - 2] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000);
  return {bad ? 0 : size, bad ? lead : code};
}

static bool is_obeyed(std::uint32_t code) {
  const bool control = code < 0x20 || (code >= 0x7f && code < 0xa0);
  const bool separator = code == 0x2028 || code == 0x2029;
  const bool direction = code == 0x200e || code == 0x200f || (code >= 0x202a && code <= 0x202e) ||
                         (code >= 0x2066 && code <= 0x2069) || code == 0x061c;
  return control || separator || direction;
}

static std::string escaped(std::uint32_t code) {
  if (code == '\n') return "\\n";
  if (code == '\t') return "\\t";
  if (code == '\r') return "\\r";
  char text[16];
  std::snprintf(text, sizeof text, code < 0x100 ? "\\x%02x" : "\\u%04x", code);
  return text;
}

std::string printable(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto [size, code] = first_character(text);
    if (size == 0 || is_obeyed(code)) {
      out += escaped(code);
    } else {
      out += text.substr(0, size);
    }
    text.remove_prefix(std::max<std::size_t>(size, 1));
  }
  return out;
}

std::string quote(std::string_view text, char mark) {
  constexpr std::size_t line = 80;
  if (text.size() <= line) return mark + printable(text) + mark;
  std::size_t end = line;  // not within a character
  while (end > line - 4 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return mark + printable(text.substr(0, end)) + "..." + mark + " (" + std::to_string(text.size()) +
         " bytes)";
}

std::string shell_word(const std::string& text) {
  if (text.find_first_of(" \t\n'\"\\$&|;<>()*?[]#~`!{}") == text.npos) return text;
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? "'\\''" : std::string(1, c);
  return out + "'";
}

}  // namespace backflow::inline BACKFLOW_PRECISION

// JSON as a sequence of events: nothing is built and nothing recurses, so that neither a deep text
// nor a long one costs more than its length.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

enum class JsonKind { null, boolean, whole, number, string, array, object };  // whole: from 0 up

const char* name_of(JsonKind kind);

class JsonHandler {
 public:
  virtual ~JsonHandler() = default;
  // `text` is a string's contents, or how a number, true, false or null is written. An array or
  // object begins with an empty one; its values follow, then end().
  virtual void value(JsonKind kind, const std::string& text) = 0;
  virtual void key(const std::string& text) = 0;  // of the value that comes next
  virtual void end() = 0;
};

struct JsonError {
  std::size_t byte;    // counted from 1
  bool number_beyond;  // a number that no double can hold; else the text is no JSON
};

// Calls the handler, whose exceptions pass through, until the end or an error.
std::optional<JsonError> read_json(std::string_view text, JsonHandler& handler);

}  // namespace backflow::inline BACKFLOW_PRECISION

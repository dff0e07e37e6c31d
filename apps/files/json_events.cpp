#include "backflow/apps/files/json_events.h"

#include <nlohmann/json.hpp>

namespace backflow::inline BACKFLOW_PRECISION {

const char* name_of(JsonKind kind) {
  switch (kind) {
    case JsonKind::null:
      return "null";
    case JsonKind::boolean:
      return "boolean";
    case JsonKind::whole:
    case JsonKind::number:
      return "number";
    case JsonKind::string:
      return "string";
    case JsonKind::array:
      return "array";
    case JsonKind::object:
      return "object";
  }
  return "value";
}

namespace {

// The library's events, as ours.
class Adapter : public nlohmann::json::json_sax_t {
 public:
  explicit Adapter(JsonHandler& handler) : handler_(handler) {}
  std::optional<JsonError> error;

  bool null() override { return value(JsonKind::null, "null"); }
  bool boolean(bool b) override { return value(JsonKind::boolean, b ? "true" : "false"); }
  bool number_integer(number_integer_t n) override {
    return value(n < 0 ? JsonKind::number : JsonKind::whole, std::to_string(n));
  }
  bool number_unsigned(number_unsigned_t n) override {
    return value(JsonKind::whole, std::to_string(n));
  }
  bool number_float(number_float_t, const string_t& text) override {
    return value(JsonKind::number, text);
  }
  bool string(string_t& text) override { return value(JsonKind::string, text); }
  bool binary(binary_t&) override { return false; }  // JSON has none
  bool start_object(std::size_t) override { return value(JsonKind::object, ""); }
  bool start_array(std::size_t) override { return value(JsonKind::array, ""); }
  bool key(string_t& text) override {
    handler_.key(text);
    return true;
  }
  bool end_object() override { return end(); }
  bool end_array() override { return end(); }
  bool parse_error(std::size_t byte, const std::string&,
                   const nlohmann::detail::exception& cause) override {
    const bool number_beyond = dynamic_cast<const nlohmann::json::out_of_range*>(&cause);
    error = JsonError{byte, number_beyond};
    return false;
  }

 private:
  bool value(JsonKind kind, const std::string& text) {
    handler_.value(kind, text);
    return true;
  }
  bool end() {
    handler_.end();
    return true;
  }

  JsonHandler& handler_;
};

}  // namespace

std::optional<JsonError> read_json(std::string_view text, JsonHandler& handler) {
  // The library takes a zero byte for the end.
  if (const std::size_t zero = text.find('\0'); zero != text.npos)
    return JsonError{zero + 1, false};
  Adapter adapter(handler);
  nlohmann::json::sax_parse(text, &adapter);
  return adapter.error;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

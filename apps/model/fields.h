// What a configuration can do by its fields alone. It is a struct with a static
//
//   template <class Self, class F> static void visit(Self& self, F f);
//
// that calls f(key, field, meaning) for every field, in order; fields are texts, numbers, whole
// numbers and flags. Reading needs a function validate(config) as well, which fails, naming the
// key, when a value makes no sense.
#pragma once

#include <map>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "backflow/apps/files/numbers.h"
#include "backflow/apps/files/quote.h"

namespace backflow::inline BACKFLOW_PRECISION {

// A value as JSON has it: "0.1", "true", "\"exact\"".
std::string json_value(const std::string& text);
inline std::string json_value(const char* text) { return json_value(std::string(text)); }
std::string json_value(double number);
std::string json_value(Index number);
std::string json_value(bool flag);

using JsonMembers = std::vector<std::pair<std::string, std::string>>;  // name, value as JSON has it
// A flat object, a member per line.
std::string json_object(const JsonMembers& members);
// The members of such an object, numbers and flags as they are written, texts without quotes.
// Throws an Error for anything else: a list or an object within it, a name that occurs twice.
std::map<std::string, std::string> members_of_json(const std::string& text);

// A field's value from text. Fails, naming the key, for a text of the wrong type.
template <class T>
T parse_field(const std::string& key, const std::string& text) {
  if constexpr (std::is_same_v<T, std::string>) {
    return text;
  } else if constexpr (std::is_same_v<T, bool>) {
    if (text == "true" || text == "1") return true;
    if (text == "false" || text == "0") return false;
    fail(key, "expected true or false, got ", quote(text, '\''));
  } else {
    if (const std::optional<T> value = to_number<T>(text)) return *value;
    const bool too_large =
        std::is_same_v<T, Index> && text.find_first_not_of("0123456789") == text.npos;
    fail(key, "expected ", std::is_same_v<T, Index> ? "a whole number" : "a number",
         too_large && !text.empty() ? " below 2^63" : "", ", got ", quote(text, '\''));
  }
}

// Sets a field from text, as parse_field() reads it; false if there is none of that key.
template <class Configuration>
bool assign_field(Configuration& config, const std::string& key, const std::string& text) {
  bool known = false;
  Configuration::visit(config, [&]<class T>(const char* name, T& field, const char*) {
    if (key != name) return;
    known = true;
    field = parse_field<T>(key, text);
  });
  return known;
}

// As JSON has it; empty if there is no such field.
template <class Configuration>
std::string field_as_text(const Configuration& config, const std::string& key) {
  std::string text;
  Configuration::visit(config, [&](const char* name, const auto& field, const char*) {
    if (key == name) text = json_value(field);
  });
  return text;
}

// As a JSON object with a member per field; `extra` members (name, text) follow.
template <class Configuration>
std::string to_json(const Configuration& config,
                    const std::vector<std::pair<std::string, std::string>>& extra = {}) {
  JsonMembers members;
  Configuration::visit(config, [&](const char* key, const auto& field, const char*) {
    members.emplace_back(key, json_value(field));
  });
  for (const auto& [key, value] : extra) members.emplace_back(key, json_value(value));
  return json_object(members);
}

// Ignores members that are no fields and keeps the defaults of those that are missing; fails,
// naming `where`, for anything that is not a sensible configuration.
template <class Configuration>
Configuration from_json(const std::string& where, const std::string& text) try {
  const auto members = members_of_json(text);
  Configuration config;
  Configuration::visit(config, [&]<class T>(const char* key, T& field, const char*) {
    if (const auto found = members.find(key); found != members.end())
      field = parse_field<T>(key, found->second);
  });
  validate(config);
  return config;
} catch (const Error& error) {
  fail(where, "the configuration is damaged: ", error.what());
}

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/apps/model/fields.h"

#include <nlohmann/json.hpp>

#include "backflow/apps/files/json_events.h"

namespace backflow::inline BACKFLOW_PRECISION {

std::string json_value(const std::string& text) { return nlohmann::json(text).dump(); }
std::string json_value(double number) { return nlohmann::json(number).dump(); }
std::string json_value(Index number) { return nlohmann::json(number).dump(); }
std::string json_value(bool flag) { return nlohmann::json(flag).dump(); }

std::string json_object(const JsonMembers& members) {
  std::string text;
  for (const auto& [name, value] : members)
    text += (text.empty() ? "{\n  " : ",\n  ") + json_value(name) + ": " + value;
  return text + (text.empty() ? "{}\n" : "\n}\n");
}

namespace {

// The members of a flat JSON object, as text.
class Members : public JsonHandler {
 public:
  std::map<std::string, std::string> all;
  bool is_object() const { return is_object_; }

  void value(JsonKind kind, const std::string& text) override {
    const bool nested = kind == JsonKind::object || kind == JsonKind::array;
    if (depth_ == 0) is_object_ = kind == JsonKind::object;
    if (depth_ == 0 && !is_object_) throw Error("not a JSON object");
    if (depth_ == 1 && nested)
      fail(printable(key_.substr(0, 40)), "expected text, a number, true or false, got a JSON ",
           name_of(kind));
    if (depth_ == 1 && !all.emplace(key_, text).second)
      fail(printable(key_.substr(0, 40)), "occurs twice, expected once");
    depth_ += nested;
  }
  void key(const std::string& text) override { key_ = text; }
  void end() override { --depth_; }

 private:
  int depth_ = 0;
  bool is_object_ = false;
  std::string key_;
};

}  // namespace

std::map<std::string, std::string> members_of_json(const std::string& text) {
  Members members;
  if (read_json(text, members) || !members.is_object()) throw Error("not a JSON object");
  return std::move(members.all);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

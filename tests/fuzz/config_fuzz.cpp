// config_from_json and set_field: a configuration that is sensible survives as JSON. The input is
// read in both ways, as JSON and as lines KEY=VALUE, each as --set takes it.
#include "apps/config.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/lines.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

void survive_as_json(const Config& config) {
  const Config again = config_from_json("output", to_json(config));
  Config::visit(config, [&](const std::string& key, const auto&, const char*) {
    promise(field_as_text(again, key) == field_as_text(config, key), "a field survives as JSON");
  });
}

void read_json(const std::string& text) {
  if (const auto config = accepted([&] { return config_from_json("input", text); }))
    survive_as_json(*config);
}

// As the program does, up to the first that is refused.
bool set_all(Config& config, std::string_view lines) {
  const auto assignments = assignments_in(lines);
  for (const auto& [key, value] : assignments) set_field(config, key, value);
  validate(config);
  return !assignments.empty();
}

void set_fields(std::string_view lines) {
  Config config;
  if (accepted([&] { return set_all(config, lines); }).value_or(false)) survive_as_json(config);
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace backflow;
  const std::string text(text_of(data, size));
  read_json(text);
  set_fields(text);
  return 0;
}

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

void set_fields(std::string_view lines) {
  Config config;
  for (const auto& [key, value] : assignments_in(lines))
    accepted([&, &key = key, &value = value] { return set_field(config, key, value), true; });
  if (accepted([&] { return validate(config), true; })) survive_as_json(config);
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

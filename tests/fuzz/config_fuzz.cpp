// config_from_json and set_field: a configuration that is sensible survives as JSON. The input is
// read in both ways, as JSON and as lines KEY=VALUE, each as --set takes it.
#include "backflow/apps/model/config.h"
#include "backflow/tests/fuzz/fuzz.h"
#include "backflow/tests/fuzz/lines.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

void survive_as_json(const Config& config) {
  const std::string json = to_json(config);
  promise(to_json(config_from_json("output", json)) == json, "a configuration survives as JSON");
}

void read_json(const std::string& text) {
  if (const auto config = accepted([&] { return config_from_json("input", text); }))
    survive_as_json(*config);
}

// As the program does, up to the first that is refused. An unknown key is compared with all that
// are known, which takes long for a long one and finds nothing new.
bool set_all(Config& config, std::string_view lines) {
  constexpr std::size_t longest_key = 32;
  bool any = false;
  for (const auto& [key, value] : assignments_in(lines)) {
    if (key.size() > longest_key) break;
    set_field(config, key, value);
    any = true;
  }
  validate(config);
  return any;
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

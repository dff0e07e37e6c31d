// What the program prints and writes, taken apart.
#pragma once

#include <png.h>

#include <nlohmann/json.hpp>

#include "backflow/apps/files/png.h"
#include "backflow/tests/apps/snf/program.h"

namespace backflow::inline BACKFLOW_PRECISION {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

inline Picture read_png(const fs::path& path) {
  png_image image{};
  image.version = PNG_IMAGE_VERSION;
  if (!png_image_begin_read_from_file(&image, path.c_str())) fail(path.string(), image.message);
  image.format = PNG_FORMAT_GRAY;
  Picture picture{1, static_cast<int>(image.height), static_cast<int>(image.width), {}};
  picture.pixels.resize(PNG_IMAGE_SIZE(image));
  png_image_finish_read(&image, nullptr, picture.pixels.data(), 0, nullptr);
  return picture;
}

inline std::vector<Words> rows_of(const std::string& csv) {
  std::vector<Words> rows;
  std::istringstream lines(csv);
  for (std::string line; std::getline(lines, line);) {
    rows.emplace_back(1);
    for (const char c : line) {
      if (c == ',')
        rows.back().emplace_back();
      else
        rows.back().back() += c;
    }
  }
  return rows;
}

inline bool is_there(const std::string& program) {
  std::istringstream directories(std::getenv("PATH"));
  for (std::string directory; std::getline(directories, directory, ':');)
    if (access((directory + "/" + program).c_str(), X_OK) == 0) return true;
  return false;
}

inline Words keys_of(const Json& json) {
  Words keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  return keys;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

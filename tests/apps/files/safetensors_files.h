// Safetensors files for tests, byte by byte.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "backflow/apps/files/safetensors.h"
#include "backflow/tests/apps/files/scratch.h"

namespace backflow::inline BACKFLOW_PRECISION {

inline std::string bytes_of(const void* data, std::size_t size) {
  return {static_cast<const char*>(data), size};
}

template <class Stored>
std::string bytes_of(const std::vector<Stored>& values) {
  return bytes_of(values.data(), values.size() * sizeof(Stored));
}

inline std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  return bytes_of(&length, sizeof length) + header + data;
}

inline TensorFile load_header(const std::string& header, const std::string& data) {
  const Scratch scratch;
  return load_safetensors(scratch.write("good.safetensors", file_of(header, data)));
}

}  // namespace backflow::inline BACKFLOW_PRECISION

// The header of a safetensors file: what its JSON says, checked in one pass and in linear time.
#pragma once

#include "backflow/apps/files/safetensors.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct SafetensorsHeader {
  std::map<std::string, SafetensorsFile::Entry> tensors;
  std::map<std::string, std::string> metadata;
};

// `data_bytes` follow the header. Throws an Error naming `where` for anything but entries and text
// metadata: a field that is missing or of the wrong type, a name that occurs twice, offsets beyond
// the data, a number of bytes that is not the shape's.
SafetensorsHeader parse_safetensors_header(const std::string& where, std::string_view text,
                                           std::uint64_t data_bytes);

[[noreturn]] void fail_dtype(const std::string& where, const std::string& tensor,
                             const std::string& found);

}  // namespace backflow::inline BACKFLOW_PRECISION

// Small idx files for tests, raw and compressed.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

inline std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(value >> shift);
  return bytes;
}

inline std::string idx_header(std::uint32_t count, std::uint32_t height, std::uint32_t width,
                              std::uint32_t magic = 0x803) {
  return big_endian(magic) + big_endian(count) + big_endian(height) + big_endian(width);
}

// Pixel i has the value i mod 251.
inline std::string idx_file(std::uint32_t count, std::uint32_t height, std::uint32_t width) {
  std::string bytes = idx_header(count, height, width);
  for (std::uint32_t i = 0; i < count * height * width; ++i) bytes += static_cast<char>(i % 251);
  return bytes;
}

// The labels as they are given, whether or not they are ones.
inline std::string idx_labels(const std::string& labels, std::uint32_t magic = 0x801) {
  return big_endian(magic) + big_endian(static_cast<std::uint32_t>(labels.size())) + labels;
}

inline std::string gzip(std::string text) {
  z_stream stream{};
  deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, static_cast<uLong>(text.size())), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(text.data());
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  if (deflate(&stream, Z_FINISH) != Z_STREAM_END) fail("gzip", "the test cannot compress");
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

// Small PNG files for tests, of kinds that the program itself never writes.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <string>

#include "backflow/tests/apps/data/idx_files.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct PngKind {
  int color_type = 2;  // 0 gray, 2 RGB, 3 palette, 4 gray with alpha, 6 RGB with alpha
  int bits = 8;
};

inline std::string png_chunk(const std::string& type, const std::string& contents) {
  const std::string body = type + contents;
  const auto crc = crc32_z(0, reinterpret_cast<const Bytef*>(body.data()), body.size());
  return big_endian(static_cast<std::uint32_t>(contents.size())) + body +
         big_endian(static_cast<std::uint32_t>(crc));
}

// The rows of the image in one string; those that it does not reach are black.
inline std::string png_file(std::uint32_t height, std::uint32_t width, const std::string& pixels,
                            PngKind kind = {}, const std::string& more_chunks = "") {
  const std::uint32_t channels[] = {1, 0, 3, 1, 2, 0, 4};
  const std::size_t row = (width * channels[kind.color_type] * kind.bits + 7) / 8;
  std::string rows;
  for (std::size_t y = 0; y < height; ++y) {
    std::string bytes = y * row < pixels.size() ? pixels.substr(y * row, row) : "";
    bytes.resize(row);
    rows += '\0' + bytes;  // not filtered
  }
  uLongf size = compressBound(static_cast<uLong>(rows.size()));
  std::string compressed(size, '\0');
  compress(reinterpret_cast<Bytef*>(compressed.data()), &size,
           reinterpret_cast<const Bytef*>(rows.data()), static_cast<uLong>(rows.size()));
  compressed.resize(size);
  const std::string header = big_endian(width) + big_endian(height) + static_cast<char>(kind.bits) +
                             static_cast<char>(kind.color_type) + std::string(3, '\0');
  const std::string palette = kind.color_type == 3 ? png_chunk("PLTE", std::string(3, '\x07')) : "";
  return "\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) + more_chunks + palette +
         png_chunk("IDAT", compressed) + png_chunk("IEND", "");
}

// Bytes without a pattern, the same for the same seed.
inline std::string noise(std::size_t size, std::uint32_t seed = 1) {
  std::string bytes;
  for (std::uint32_t state = seed; bytes.size() < size;) {
    state = state * 1664525 + 1013904223;
    bytes += static_cast<char>(state >> 24);
  }
  return bytes;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

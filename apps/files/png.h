// Pictures as PNG files, and many images side by side in one picture.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "backflow/engine/tensor.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Picture {
  int channels = 1;  // 1 gray, 3 RGB
  int height = 0, width = 0;
  std::vector<std::uint8_t> pixels;  // (height, width, channels)
};

// A picture has a pixel value that is NaN or infinite.
struct NotFinite : Error {
  using Error::Error;
};

// The bytes of a PNG file of it. Throws an Error, naming `where`, when the picture is not one.
std::string encode_png(const Picture& picture, const std::string& where);

// Atomic. Throws an Error when the picture is not one or the file cannot be written.
void write_png(const std::filesystem::path& path, const Picture& picture);

// The picture in the bytes of a PNG file, `channels` being 1 for 8-bit gray or 3 for 8-bit RGB; the
// values as they are stored, whatever the file says of gamma. Throws an Error, naming `where`, when
// the file is damaged or cut short, or holds another kind: fewer or more bits, palette, alpha.
Picture decode_png(std::string_view bytes, int channels, const std::string& where);

// (pixels, channels) to (channels, pixels).
template <class T>
void to_planes(const std::uint8_t* interleaved, Index pixels, int channels, T* planes) {
  for (int channel = 0; channel < channels; ++channel)
    for (Index pixel = 0; pixel < pixels; ++pixel)
      planes[channel * pixels + pixel] = static_cast<T>(interleaved[pixel * channels + channel]);
}

// (n, 1 or 3, h, w) with values 0 to 255, rounded and clamped; row by row, `columns` in each, with
// `padding` dark pixels around every image. Each value becomes a square of `scale` x `scale`.
// Throws NotFinite.
Picture image_grid(const Tensor& images, int columns, int padding = 2, int scale = 1);

}  // namespace backflow::inline BACKFLOW_PRECISION

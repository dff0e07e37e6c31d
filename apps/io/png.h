// Pictures as PNG files, and many images side by side in one picture.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "engine/tensor.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Picture {
  int channels = 1;  // 1 gray, 3 RGB
  int height = 0, width = 0;
  std::vector<std::uint8_t> pixels;  // (height, width, channels)
};

// Atomic. Throws an Error when the picture is not one or the file cannot be written.
void write_png(const std::filesystem::path& path, const Picture& picture);

// (n, 1 or 3, h, w) with values 0 to 255, rounded and clamped; row by row, `columns` in each, with
// `padding` dark pixels around every image. Each value becomes a square of `scale` x `scale`.
// Throws an Error when a value is not finite.
Picture image_grid(const Tensor& images, int columns, int padding = 2, int scale = 1);

}  // namespace backflow::inline BACKFLOW_PRECISION

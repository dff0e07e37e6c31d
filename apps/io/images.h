// Data sets of 8-bit images, cut into training, validation and test images.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "engine/tensor.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct ImageSet {
  int channels = 0, height = 0, width = 0;
  std::vector<std::uint8_t> pixels;  // (count, channels, height, width)

  Index image_size() const { return Index{channels} * height * width; }
  Index count() const {
    return pixels.empty() ? 0 : static_cast<Index>(pixels.size()) / image_size();
  }
};

struct ImageSplits {
  ImageSet train, validation, test;
};

// Reads train-images-idx3-ubyte and t10k-images-idx3-ubyte (also .gz, also spelled with a dot) in
// `dir`. The last sixth of the training file is the validation set: 10,000 of MNIST's 60,000.
// Throws an Error that says how to fetch what is missing.
ImageSplits load_mnist(const std::filesystem::path& dir);

// CRC-32 of the pixels: tells one data set from another.
std::uint32_t checksum(const ImageSet& images);

// (indices, channels, height, width) with values 0 to 255.
Tensor to_tensor(const ImageSet& images, std::span<const std::uint32_t> indices);

}  // namespace backflow::inline BACKFLOW_PRECISION

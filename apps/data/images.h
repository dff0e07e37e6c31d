// Sets of 8-bit images, with or without labels: decoded in memory, or decoded from an archive when
// they are asked for.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backflow/engine/tensor.h"

namespace backflow::inline BACKFLOW_PRECISION {

class PngArchive;

constexpr Index label_kinds = 10;

struct ImageShape {
  Index channels = 1, height = 28, width = 28;
  Index size() const { return channels * height * width; }
};

struct ImageSet {
  int channels = 0, height = 0, width = 0;
  std::vector<std::uint8_t> pixels = {};  // (count, channels, height, width)
  // If there is one, the images are these of the archive, in this order, and `pixels` is empty.
  std::shared_ptr<const PngArchive> archive = nullptr;
  std::vector<std::uint32_t> members = {};
  // What each image shows, 0 to label_kinds - 1; empty unless somebody asked for labels.
  std::vector<std::uint8_t> labels = {};

  Index image_size() const { return Index{channels} * height * width; }
  Index count() const {
    if (archive) return std::ssize(members);
    return pixels.empty() ? 0 : std::ssize(pixels) / image_size();
  }
};

struct ImageSplits {
  ImageSet train, validation, test;

  // What load_dataset adds:
  std::uint32_t train_checksum = 0, validation_checksum = 0, test_checksum = 0;
  // "MNIST", where these are that data set's images by their checksums; anybody's own images are
  // called by their directory.
  std::string name = {};
  bool published = false;  // whether they are a data set's
};

// CRC-32 of the pixels, or PngArchive::checksum: tells one data set from another.
std::uint32_t checksum(const ImageSet& images);

// (indices, channels, height, width) with values 0 to 255. Throws an Error naming the file when an
// image of an archive is damaged.
Tensor to_tensor(const ImageSet& images, std::span<const std::uint32_t> indices);

// What these images show, (indices, label_kinds): 1 in the column of the label, 0 elsewhere. Fails
// for a set without labels.
Tensor one_hot_labels(const ImageSet& images, std::span<const std::uint32_t> indices);
Tensor one_hot(std::span<const std::uint8_t> labels);  // fails for a label that is out of range

}  // namespace backflow::inline BACKFLOW_PRECISION

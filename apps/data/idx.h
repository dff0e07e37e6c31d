// Images and labels in the idx format of MNIST, raw or compressed by gzip (in one member or
// several, with zeros behind them or without, as gzip itself reads them):
//
//   4 bytes  00 00 08 03: unsigned bytes, three axes    00 00 08 01: unsigned bytes, one axis
//   then     count, height, width; 4 bytes each,        count
//            big-endian
//   the rest the pixels, row-major                      a label per byte
//
// Source: http://yann.lecun.com/exdb/mnist
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct IdxImages {
  Index count = 0;
  int height = 0, width = 0;
  std::vector<std::uint8_t> pixels;  // (count, height, width)
};

// Throws an Error naming the file when it is missing, damaged, cut short or too long; before any
// memory is asked for when it cannot hold what its header claims.
IdxImages load_idx_images(const std::filesystem::path& path);

// One label per example, from 0 to classes - 1. Throws as load_idx_images does, and for a label
// that is out of range.
std::vector<std::uint8_t> load_idx_labels(const std::filesystem::path& path, int classes = 10);

}  // namespace backflow::inline BACKFLOW_PRECISION

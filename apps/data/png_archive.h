// PNG images that stay in their tar archive and are decoded when asked for: the 1.28 million of
// ImageNet32 would fill 4 GB of memory; the index of their places takes 30 MB.
#pragma once

#include <span>

#include "backflow/apps/files/png.h"
#include "backflow/apps/files/tar.h"

namespace backflow::inline BACKFLOW_PRECISION {

class PngArchive {
 public:
  // Its images are every *.png that is a regular file, hidden ones left out, in the archive's
  // order. Each is expected to be 8-bit gray (1 channel) or RGB (3), `height` x `width`: neither
  // palette nor alpha. The first one is decoded, to learn at once when the archive has other
  // images. Throws an Error naming the archive.
  PngArchive(const std::filesystem::path& path, int channels, int height, int width);

  Index count() const { return static_cast<Index>(tar_.members().size()); }

  // Throws an Error naming the archive and the member when it is damaged, or another kind of image.
  Picture picture(std::uint32_t index) const;

  // CRC-32 of how many images these are, the sizes of their PNG files in this order, and the bytes
  // of 256 of the files, evenly spread: a change that keeps all sizes may go unnoticed.
  std::uint32_t checksum(std::span<const std::uint32_t> indices) const;

 private:
  TarFile tar_;
  int channels_, height_, width_;
};

}  // namespace backflow::inline BACKFLOW_PRECISION

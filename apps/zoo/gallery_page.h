// Every flow on one page.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "backflow/apps/files/png.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Pixels along a side of a density on the page.
inline constexpr int gallery_side = 200;

// A flow of the plane: the true density beside the learned one, both (gallery_side, gallery_side).
struct GalleryDensity {
  std::string name, caption;
  Tensor truth, learned;
};

// A flow of images: so many of its samples as the page has room for.
struct GalleryImages {
  std::string name, caption;
  Picture samples;
};

// Four flows in a row, those of images in the last one, where the words say how to read the page.
// False where gnuplot, which draws all words, is missing.
bool save_gallery(const std::filesystem::path& png, const std::vector<GalleryDensity>& densities,
                  const std::vector<GalleryImages>& images);

}  // namespace backflow::inline BACKFLOW_PRECISION

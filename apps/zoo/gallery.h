// The command `zoo gallery`: trains every flow and draws the page on which they all are.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "backflow/engine/real.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct GalleryOptions {
  std::string program = "zoo";  // as it was called, for the words with which to go on
  std::filesystem::path out;    // the PNG; empty: runs/zoo/gallery.png
  Index steps = 0;              // of each flow; 0: the gallery's own
  std::filesystem::path runs = "runs/zoo/gallery";   // with the directory of a run for each flow
  std::filesystem::path images = "apps/zoo/images";  // with the samples of the flows of images
  std::vector<std::string> flows = {};               // those of the plane; empty: all
};

// A flow whose run is there is taken as it is, and goes on if it was interrupted; with another
// number of steps it has a directory of its own. Returns the program's exit code: 0, or that of the
// first flow whose training was interrupted, or whose log-determinant is wrong.
int draw_gallery(const GalleryOptions& options);

}  // namespace backflow::inline BACKFLOW_PRECISION

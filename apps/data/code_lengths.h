// How long images are as files: what a flow that gives them a probability stands beside.
#pragma once

#include "backflow/apps/data/images.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Bits for each number of a pixel, of all images in the mean, headers of the files included.
struct CodeLengths {
  double png = 0;          // a PNG file of each image
  double gzip = 0;         // a gzip file of the bytes of each image, at the best compression
  double gzip_of_all = 0;  // one gzip file of the bytes of all images
};

// Of the first `limit` images (0: all), at least one. Fails for other than 1 or 3 channels.
CodeLengths code_lengths(const ImageSet& images, Index limit = 0);

}  // namespace backflow::inline BACKFLOW_PRECISION

// What self-normalizing convolutions have learned, as pictures.
#pragma once

#include <filesystem>

#include "backflow/apps/model/model.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct FilterPictures {
  int files = 0;
  bool captions = true;  // false where gnuplot, which draws the words, is missing or fails
};

// Draws each such layer NN with more than one tap into the file layer_NN.png in `dir`, which is
// made if need be. Three panels stand side by side: the kernels of W; those of R; and those of R
// flipped (flip_kernel of ops/conv.h), which stand in for W^-T in the gradient of W. Each has a row
// per output channel and a column per input channel.
// Red is positive, blue negative, white 0; the depth is the square root of the weight over the
// panel's largest. The bar below a panel is its scale, with numbers.
FilterPictures save_filters(const std::filesystem::path& dir, const Model& model);

}  // namespace backflow::inline BACKFLOW_PRECISION

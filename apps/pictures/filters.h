// What self-normalizing convolutions have learned, as pictures.
#pragma once

#include <filesystem>

#include "backflow/apps/model/model.h"

namespace backflow::inline BACKFLOW_PRECISION {

// Draws each such layer NN with more than one tap into the file layer_NN.png in `dir`, which is
// made if need be: the kernels of W and, behind a gap, those of R; a row per output channel, a
// column per input channel. Red is positive, blue negative, white 0, by the largest weight of the
// picture. Returns how many files.
int save_filters(const std::filesystem::path& dir, const Model& model);

}  // namespace backflow::inline BACKFLOW_PRECISION

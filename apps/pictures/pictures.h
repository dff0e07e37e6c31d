// What a model sees, as pictures.
#pragma once

#include <filesystem>

#include "backflow/apps/data/images.h"
#include "backflow/apps/model/model.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct SampleOptions {
  Index count = 64;
  std::uint64_t seed = 0;
  double temperature = 1;  // of the latent normal
  Inverse inverse = Inverse::learned;
};

// Samples of the model in a square. The same options give the same latents. Throws an Error when
// a sample is not finite.
void save_samples(const std::filesystem::path& path, const Model& model,
                  const SampleOptions& options);

// Rows: images; what the inverse makes of their latents; and how far apart the two are, black where
// they agree. Returns the mean distance of a pixel value, of 0..255.
double save_reconstruction(const std::filesystem::path& path, const Model& model,
                           const Tensor& images, Inverse inverse = Inverse::learned);

}  // namespace backflow::inline BACKFLOW_PRECISION

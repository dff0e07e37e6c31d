// What a model sees, as pictures.
#pragma once

#include <filesystem>

#include "apps/experiments.h"
#include "apps/io/images.h"

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

// Rows: images; what the inverse (the learned one, where there is one) makes of their latents; and
// how far apart the two are, black where they agree.
void save_reconstruction(const std::filesystem::path& path, const Model& model,
                         const Tensor& images);

}  // namespace backflow::inline BACKFLOW_PRECISION

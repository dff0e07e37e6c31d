// What a model sees, as pictures.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

#include "backflow/apps/data/images.h"
#include "backflow/apps/model/model.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct SampleOptions {
  Index count = 0;  // 0: 64, or 8 of each kind that the model's context has
  std::uint64_t seed = 0;
  double temperature = 1;  // of the latent normal
  Inverse inverse = Inverse::learned;
};

// (count, channels, height, width): the model's samples, pixel values as they come, about 0 to 255.
// The same options give the same latents. Where the model takes a context, the samples are of its
// kinds in turn: of label 0, 1, ...
Tensor draw_samples(const Model& model, const SampleOptions& options);
Index sample_count(const Model& model, const SampleOptions& options);

// The mean of |a - b| over all pixels, in units of a pixel's range, which is from 0 to 255; values
// outside of it count as the nearest within, as in a picture.
double mean_difference(const Tensor& a, const Tensor& b);

// Samples in a square, exactly these pixels at twice their size and no words; or, where they are of
// so many kinds in turn, in a row for each kind. Throws an Error when a sample is not finite.
void save_samples(const std::filesystem::path& path, const Tensor& samples, Index kinds = 0);
void save_samples(const std::filesystem::path& path, const Model& model,
                  const SampleOptions& options);

// The same with lines of words below. False where these are left out: gnuplot draws them.
bool save_captioned_samples(const std::filesystem::path& path, const Tensor& samples,
                            const std::vector<std::string>& lines, Index kinds = 0);

struct Reconstruction {
  double difference;  // mean_difference of the images and what came back
  bool captions;      // false where gnuplot, which draws the words, is missing or fails
};

// Rows, each named at its left: the images; what the inverse makes of their latents; and how far
// apart the two are, black where they agree. `context` is what the model's context row makes of the
// images.
Reconstruction save_reconstruction(const std::filesystem::path& path, const Model& model,
                                   const Tensor& images, Inverse inverse = Inverse::learned,
                                   const Tensor& context = {});

}  // namespace backflow::inline BACKFLOW_PRECISION

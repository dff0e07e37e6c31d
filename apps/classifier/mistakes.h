// What a classifier takes for what, as pictures.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "backflow/apps/data/images.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Predictions {
  Tensor probabilities;            // (images, classes); each row adds up to 1
  std::vector<Index> labels;       // the right classes of the images
  std::vector<std::string> names;  // of the classes

  Index predicted(Index image) const;  // the most probable class
  double confidence(Index image) const { return probability_of(image, predicted(image)); }
  double probability_of(Index image, Index label) const;
};

struct MistakesPicture {
  Index mistakes = 0;    // that there are, or of which the picture shows so many
  bool captions = true;  // false where gnuplot, which draws the words, is missing or fails
};

// How many images of each class (a row) were taken for each class (a column): numbers on fields
// that are green on the diagonal, where the classifier is right, and red elsewhere, the deeper the
// larger a part of the row they are. These fail when the sizes of the predictions do not fit
// together, or a label is no class.
MistakesPicture save_confusion(const std::filesystem::path& png, const Predictions& predictions);

// The mistakes that the classifier was surest of, at most 32: each image with its class and the one
// it was taken for. Where there are none, an old picture is deleted.
MistakesPicture save_mistakes(const std::filesystem::path& png, const ImageSet& images,
                              const Predictions& predictions);

}  // namespace backflow::inline BACKFLOW_PRECISION

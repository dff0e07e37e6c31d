// The images and labels that the program classifier looks at.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "backflow/apps/classifier/options.h"
#include "backflow/apps/data/datasets.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct Examples {
  LabelledImages train, test;
  std::string name;                  // "MNIST", by the test images; somebody's own: their directory
  std::vector<std::string> classes;  // what the labels 0 to 9 mean
};

// All of the data set's, or the first so many. Throws an Error that says how to get what is
// missing.
Examples load(const Options& options);

struct Batch {
  Tensor x;                   // (B, pixels), from 0 (black) to 1 (white)
  std::vector<Index> labels;  // B of them: what each image shows
};

// The examples with these numbers, in this order; or all of them, in theirs.
Batch take(const LabelledImages& examples, std::span<const std::uint32_t> rows);
Batch all_of(const LabelledImages& examples);

}  // namespace backflow::inline BACKFLOW_PRECISION

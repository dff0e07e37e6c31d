// How layers, activations and the rest follow one another.
#pragma once

#include "backflow/apps/data/images.h"
#include "backflow/apps/model/site.h"
#include "backflow/apps/model/table.h"

namespace backflow::inline BACKFLOW_PRECISION {

// One flow of a model: where it goes, how it is made, and which products it needs there.
struct Part {
  Site site;
  std::unique_ptr<Flow> (*make)(const Site& site);
  std::vector<Product> (*products)(const Site& site);
};

struct Plan {
  std::vector<Part> parts;  // in the order of forward, after the preprocessing of the pixels
  Shape latent;             // of one example's z
};

struct ArchitectureRow {
  std::string name, help;
  bool of_blocks;  // of config.block_size steps, which are alike
  // The plan refers to the configuration. Fails when the images cannot be squeezed as often as the
  // configuration asks.
  Plan (*plan)(const Config& config, const ImageShape& image);
  std::string (*describe)(const Config& config);  // "2 exact FC, smooth leaky ReLU"
};

const Table<ArchitectureRow>& architectures();

// That of the configuration, in parts.
Plan plan_of(const Config& config, const ImageShape& image);

}  // namespace backflow::inline BACKFLOW_PRECISION

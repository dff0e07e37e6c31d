// The random changes of training images that a configuration can name.
#pragma once

#include <span>

#include "backflow/apps/model/table.h"
#include "backflow/ops/random.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct AugmentationRow {
  std::string name, help;
  // As those of apps/data/augment.h.
  Tensor (*change)(const Tensor& images, const Random& random,
                   std::span<const std::uint32_t> examples);
};

const Table<AugmentationRow>& augmentations();

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/apps/model/augmentations.h"

#include "backflow/apps/data/augment.h"

namespace backflow::inline BACKFLOW_PRECISION {

static Tensor unchanged(const Tensor& images, const Random&, std::span<const std::uint32_t>) {
  return images;
}

const Table<AugmentationRow>& augmentations() {
  static const Table<AugmentationRow> all(
      "augment", {{"none", "the images themselves", unchanged},
                  {"flip_shift", "mirrored or not, then shifted by a pixel or not", flip_shift},
                  {"shift", "shifted by a pixel or not", shift}});
  return all;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

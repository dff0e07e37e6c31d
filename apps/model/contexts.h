// What a configuration can have a flow told of each image, beside its pixels: its context c, whose
// flow is a density of p(x | c).
#pragma once

#include <span>

#include "backflow/apps/data/images.h"
#include "backflow/apps/model/table.h"

namespace backflow::inline BACKFLOW_PRECISION {

struct ContextRow {
  std::string name, help;
  Index width;  // numbers per image; 0: none
  bool of_labels;
  // Those of images of a set, (rows, width); and those that samples are drawn with, (count, width):
  // one kind after another, and again from the first. Undefined where the width is 0.
  Tensor (*of_images)(const ImageSet& images, std::span<const std::uint32_t> rows);
  Tensor (*in_turn)(Index count);
};

const Table<ContextRow>& contexts();

}  // namespace backflow::inline BACKFLOW_PRECISION

#include "backflow/apps/model/contexts.h"

namespace backflow::inline BACKFLOW_PRECISION {

static Tensor labels_in_turn(Index count) {
  std::vector<std::uint8_t> labels;
  for (Index i = 0; i < count; ++i) labels.push_back(static_cast<std::uint8_t>(i % label_kinds));
  return one_hot(labels);
}

const Table<ContextRow>& contexts() {
  static const Table<ContextRow> all(
      "context", {{"none", "the pixels alone: p(x)", 0, false,
                   [](const ImageSet&, std::span<const std::uint32_t>) { return Tensor(); },
                   [](Index) { return Tensor(); }},
                  {"label", "what the image shows, one of ten kinds: p(x | label)", label_kinds,
                   true, one_hot_labels, labels_in_turn}});
  return all;
}

}  // namespace backflow::inline BACKFLOW_PRECISION

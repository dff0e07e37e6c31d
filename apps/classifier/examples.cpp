#include "backflow/apps/classifier/examples.h"

#include <algorithm>
#include <numeric>

#include "backflow/apps/model/datasets.h"
#include "backflow/ops/pointwise.h"

namespace backflow::inline BACKFLOW_PRECISION {

static void keep_first(LabelledImages& examples, Index limit) {
  const Index count = std::min(limit, examples.images.count());
  examples.images.pixels.resize(count * examples.images.image_size());
  examples.labels.resize(count);
}

static std::vector<std::string> classes_of(const DatasetRow* dataset) {
  if (dataset && dataset->name == "fashion_mnist")
    return {"T-shirt", "trousers", "pullover", "dress", "coat",
            "sandal",  "shirt",    "sneaker",  "bag",   "ankle boot"};
  return {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"};
}

Examples load(const Options& options) {
  const auto dir = options.data.empty() ? datasets()[options.dataset].directory() : options.data;
  LabelledSplits splits = options.dataset == "fashion_mnist" ? load_labelled_fashion_mnist(dir)
                                                             : load_labelled_mnist(dir);
  const DatasetRow* known = known_by_test_images(splits.test.images);
  Examples examples{std::move(splits.train), std::move(splits.test),
                    known ? known->title : dir.string(), classes_of(known)};
  if (options.limit > 0)
    for (LabelledImages* part : {&examples.train, &examples.test}) keep_first(*part, options.limit);
  return examples;
}

Batch take(const LabelledImages& examples, std::span<const std::uint32_t> rows) {
  Batch batch;
  const Tensor bytes = to_tensor(examples.images, rows);
  batch.x = bytes.reshape({bytes.size(0), examples.images.image_size()}) / 255;
  for (const std::uint32_t row : rows) batch.labels.push_back(examples.labels[row]);
  return batch;
}

Batch all_of(const LabelledImages& examples) {
  std::vector<std::uint32_t> rows(examples.labels.size());
  std::iota(rows.begin(), rows.end(), 0u);
  return take(examples, rows);
}

}  // namespace backflow::inline BACKFLOW_PRECISION

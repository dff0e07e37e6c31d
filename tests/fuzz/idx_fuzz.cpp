// load_idx_images and load_idx_labels: the pixels are as many as the header says, the labels are in
// range, both are the same when they were compressed, and no file holds both.
#include "backflow/apps/data/idx.h"
#include "backflow/tests/apps/data/idx_files.h"
#include "backflow/tests/fuzz/fuzz.h"

namespace backflow::inline BACKFLOW_PRECISION {
namespace {

std::optional<IdxImages> load(std::string_view bytes) {
  auto images = accepted([&] { return load_idx_images(file_of(bytes)); });
  if (images)
    promise(std::ssize(images->pixels) == images->count * images->height * images->width,
            "there are count x height x width pixels");
  return images;
}

std::optional<std::vector<std::uint8_t>> labels_of(std::string_view bytes) {
  auto labels = accepted([&] { return load_idx_labels(file_of(bytes)); });
  if (labels)
    for (const std::uint8_t label : *labels) promise(label < 10, "labels are 0 to 9");
  return labels;
}

bool same(const std::optional<IdxImages>& a, const std::optional<IdxImages>& b) {
  if (!a || !b) return !a && !b;
  return a->count == b->count && a->height == b->height && a->width == b->width &&
         a->pixels == b->pixels;
}

}  // namespace
}  // namespace backflow::inline BACKFLOW_PRECISION

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace backflow;
  const std::string_view bytes = text_of(data, size);
  const std::optional<IdxImages> images = load(bytes);
  const auto labels = labels_of(bytes);
  promise(!images || !labels, "a file holds images or labels");
  if (bytes.starts_with("\x1f\x8b")) return 0;
  const std::string compressed = gzip(std::string(bytes));
  promise(same(images, load(compressed)), "a compressed file loads as the raw one");
  promise(labels == labels_of(compressed), "compressed labels load as the raw ones");
  return 0;
}
